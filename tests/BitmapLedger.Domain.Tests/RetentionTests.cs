using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Retaining;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Tests;

/// <summary>
/// A coalesced history answers what is kept as the whole one does, and of nothing else too little. Random histories of all
/// commands, resizes and losses, cut at random places.
/// </summary>
public sealed class RetentionTests
{
    private static readonly DateTimeOffset _time = new(2026, 11, 22, 21, 36, 3, TimeSpan.Zero);

    [Fact]
    public void Bits_at_every_event_that_can_be_asked_about_are_those_of_the_whole_history()
    {
        var (replaced, gone) = (0, 0);
        for (var seed = 0; seed < 4; seed++)
        {
            using var walk = Walk(seed);
            var cut = new Cut(walk, new(seed));
            replaced += cut.Runs.Sum(r => r.Replaced);
            gone += cut.Runs.Count(r => r.IsGone);
            using var whole = new BitmapReplay();
            using var kept = new BitmapReplay();
            for (var number = 1; number <= walk.Events.Count; number++)
            {
                whole.Apply(walk.Events[number - 1], number, _time);
                if (!cut.Events.TryGetValue(number, out var happened))
                    continue;
                kept.Apply(happened, number, _time);
                if (number >= cut.Limits.GoneEvent)
                    Assert.Equal(Digests(whole), Digests(kept));
            }
        }

        Assert.True(replaced > 100 && gone > 3, $"{replaced} events replaced, {gone} runs gone: nothing was tried");
    }

    [Fact]
    public void What_changed_between_ends_of_runs_is_exact_and_inside_of_them_never_too_little()
    {
        var inside = 0;
        for (var seed = 100; seed < 104; seed++)
        {
            using var walk = Walk(seed);
            var random = new Random(seed);
            var cut = new Cut(walk, random);
            for (var i = 0; i < 40; i++)
            {
                var (a, b) = (Somewhere(walk, cut, random), Somewhere(walk, cut, random));
                var (from, to) = a.Event <= b.Event ? (a, b) : (b, a);
                var granularity = Granularity.FromShift(i % 2 == 0 ? 16 : 9);
                using var expected = Whole(walk, from, to, granularity);
                using var changed = Changed(walk, cut.Events.Select(e => (e.Key, e.Value)), from, to, granularity);
                var whole = cut.Events.ContainsKey(from.Event) && cut.Events.ContainsKey(to.Event);
                inside += whole ? 0 : 1;
                if (changed.IsExact)
                    Assert.Equal(expected.Changed.Extents(), changed.Changed.Extents());
                Assert.True(changed.IsExact ? whole : !whole || !expected.IsExact || granularity == Granularity.Finest || IsCut(walk, to));
                changed.Changed.UnionWith(expected.Changed);
                using var alone = Changed(walk, cut.Events.Select(e => (e.Key, e.Value)), from, to, granularity);
                Assert.Equal(changed.Changed.Extents(), alone.Changed.Extents());
            }
        }

        Assert.True(inside > 40, $"{inside} ranges that end inside of a run");
    }

    [Fact]
    public void A_run_never_has_another_event_in_it_nor_lies_in_two_nodes_and_no_lsn_is_lost()
    {
        for (var seed = 200; seed < 204; seed++)
        {
            using var walk = Walk(seed);
            var cut = new Cut(walk, new(seed));
            foreach (var run in cut.Runs)
            {
                Assert.All(
                    walk.Events.Skip((int)run.Span.FirstEvent - 1).Take((int)(run.Last - run.Span.FirstEvent + 1)),
                    e => Assert.IsType<WritesRecorded>(e));
                Assert.Equal((run.Span.FirstEvent - 1) / 16, (run.Last - 1) / 16);
                Assert.False(run.Span.FirstEvent <= cut.Limits.KeptEvent && cut.Limits.KeptEvent < run.Last);
            }

            var lsn = 0L;
            foreach (var happened in cut.Events.Values)
            {
                var (first, last) = happened switch
                {
                    HistoryCoalesced { Coalesced.Span: var span } => (span.FirstLsn, span.LastLsn),
                    WritesRecorded { Packed: var packed } => (packed.FirstLsn, packed.LastLsn),
                    _ => (lsn + 1, lsn),
                };
                Assert.Equal(lsn + 1, first);
                lsn = last;
            }

            Assert.Equal(walk.State.LastLsn, lsn);
            Assert.DoesNotContain(cut.Events, e => e.Key <= cut.Limits.ExactEvent && e.Value is WritesRecorded);
        }
    }

    [Fact]
    public void Coalescing_what_was_coalesced_before_changes_nothing_until_it_can_be_forgotten()
    {
        var forgotten = 0;
        for (var seed = 300; seed < 304; seed++)
        {
            using var walk = Walk(seed);
            var random = new Random(seed);
            var first = new Cut(walk, random, keptEvent: 0);
            Assert.Empty(Cut.Run(first.Limits, first.Events));

            var keptEvent = first.Events.Keys.Where(n => n <= first.Limits.ExactEvent).ElementAt(random.Next(first.Events.Keys.Count(
                n => n <= first.Limits.ExactEvent)));
            var limits = Cut.LimitsOf(walk, first.Limits.ExactEvent, keptEvent);
            var again = Cut.Run(limits, first.Events);

            Assert.All(again, r => Assert.True(r.IsGone && r.Replaced == 1 && limits.Forgets(r.Last)));
            forgotten += again.Count;
        }

        Assert.True(forgotten > 3, $"{forgotten} runs forgotten");
    }

    private static HistoryWalk Walk(int seed)
    {
        var walk = new HistoryWalk(seed);
        var random = new Random(seed);
        for (var step = 0; step < 40; step++)
        {
            walk.Step();
            // Few and then many in a row, so that a run has one event as well as all of a node's.
            for (var i = random.Next(1 << random.Next(5)); i > 0; i--)
                walk.Write();
        }

        return walk;
    }

    private static string Digests(BitmapReplay replay) => string.Join('\n', replay.State.Bitmaps.SelectMany(b => (string[])
    [
        $"{b.Name} {b.Recording} {replay.Bits(b.Name).Sha256()}",
        b.Successor is null ? "" : replay.Bits(b.SuccessorName).Sha256(),
        .. b.Slices.Select(s => $"{s.Number} {replay.SliceBits(b.Name, s.Number).Sha256()}"),
    ]));

    /// <summary>Behind an event that can be asked about, whether it is still there or was coalesced.</summary>
    private static Position Somewhere(HistoryWalk walk, Cut cut, Random random)
    {
        var number = random.Next((int)cut.Limits.GoneEvent, walk.Events.Count + 1);
        return new(number, LsnAt(walk, number), default);
    }

    private static long LsnAt(HistoryWalk walk, long number) => walk.Events.Take((int)number).Max(e => e switch
    {
        WritesRecorded writes => writes.Packed.LastLsn,
        ICommandEvent command => command.AtLsn,
        _ => 0,
    });

    private static bool IsCut(HistoryWalk walk, Position to) => walk.State.SizeAt(to.Event) % 65_536 != 0;

    /// <summary>Write by write: a block of writes may count one that lies behind the end, in the block that the end is
    /// in.</summary>
    private static ChangeFold Whole(HistoryWalk walk, Position from, Position to, Granularity granularity)
    {
        var fold = new ChangeFold(walk.State.SizeAt(to.Event), granularity, from, to);
        foreach (var (happened, number) in walk.Events.Select((e, n) => (e, n + 1)))
        {
            if (happened is not WritesRecorded writes)
            {
                fold.Apply(happened, number);
                continue;
            }

            foreach (var write in writes.Packed)
                if (write.Lsn > from.Lsn && write.Lsn <= to.Lsn && write.Offset < fold.Changed.VolumeBytes)
                    fold.Changed.MarkDirty(write.Offset, Math.Min(write.Length, fold.Changed.VolumeBytes - write.Offset));
        }

        return fold;
    }

    private static ChangeFold Changed(
        HistoryWalk walk, IEnumerable<(long Number, IVolumeEvent Happened)> events, Position from, Position to, Granularity granularity)
    {
        var fold = new ChangeFold(walk.State.SizeAt(to.Event), granularity, from, to);
        foreach (var (number, happened) in events)
            fold.Apply(happened, number);
        return fold;
    }

    /// <summary>A history of which a random part was coalesced, and a part of that forgotten.</summary>
    private sealed class Cut
    {
        public Cut(HistoryWalk walk, Random random, long? keptEvent = null)
        {
            var exactEvent = random.Next(walk.Events.Count / 2, walk.Events.Count + 1);
            Limits = LimitsOf(walk, exactEvent, keptEvent ?? random.Next(1, exactEvent + 1));
            Events = new(walk.Events.Select((e, n) => KeyValuePair.Create(n + 1L, e)).ToDictionary());
            Runs = Run(Limits, Events);
            foreach (var run in Runs)
            {
                for (var number = run.Span.FirstEvent; number <= run.Last; number++)
                    Events.Remove(number);
                Events[run.Last] = new HistoryCoalesced(Read(run.Bytes));
            }
        }

        public RetentionLimits Limits { get; }

        public SortedDictionary<long, IVolumeEvent> Events { get; }

        public IReadOnlyList<CoalescedRun> Runs { get; }

        public static RetentionLimits LimitsOf(HistoryWalk walk, long exactEvent, long keptEvent)
        {
            var goneEvent = RetentionLimits.OldestAsked(walk.State, keptEvent);
            var (state, then, finest) = (new VolumeState(), new VolumeState(), new FinestGranularities());
            foreach (var (happened, number) in walk.Events.Select((e, n) => (e, n + 1)))
            {
                state = state.Apply(happened, number, _time);
                finest.Add(state);
                then = number <= goneEvent ? state : then;
            }

            return new(exactEvent, keptEvent, goneEvent, then, finest);
        }

        public static List<CoalescedRun> Run(RetentionLimits limits, SortedDictionary<long, IVolumeEvent> events)
        {
            using var coalescer = new HistoryCoalescer(limits);
            List<CoalescedRun> runs = [.. events.SelectMany(e => coalescer.Add(e.Key, _time, e.Value))];
            Assert.False(coalescer.IsOpen);
            return runs;
        }

        private static CoalescedWrites Read(byte[] bytes)
        {
            Assert.Equal(CodecFault.None, CoalescedWrites.TryRead(bytes, out var coalesced));
            return coalesced!;
        }
    }
}
