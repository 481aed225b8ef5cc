using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;
using CsCheck;

namespace BitmapLedger.Domain.Tests;

public sealed class VolumeDeciderTests
{
    private const long Size = 1_000_448;
    private static readonly DateTimeOffset _now = new(2026, 11, 22, 21, 36, 3, TimeSpan.Zero);

    [Theory]
    [InlineData("b0", null, "exists", "Bitmap already exists: b0")]
    [InlineData("", null, "bad-argument", "Bitmap name cannot be empty")]
    [InlineData("b1", 1000L, "bad-argument", "Granularity must be power of 2 and at least 512")]
    [InlineData("b1", 256L, "bad-argument", "Granularity must be power of 2 and at least 512")]
    [InlineData("b1", 1L << 32, "bad-argument", "Granularity must be power of 2 and at least 512")]
    public void A_bitmap_that_cannot_be_added_is_refused_in_the_words_of_qemu(
        string name, long? granularity, string code, string message)
    {
        var refusal = Decide(Given(new BitmapAdded("b0", 65536, false, true, 0)), new VolumeCommand.AddBitmap(
            name, granularity, false, true)).Refusal!;

        Assert.Equal((code, message), (refusal.Code, refusal.Message));
    }

    [Fact]
    public void A_name_of_1024_bytes_is_too_long_and_one_of_1023_is_not()
    {
        Assert.Equal("bad-argument", Decide(
            Given(), new VolumeCommand.AddBitmap(new('x', 1024), null, false, true)).Refusal!.Code);
        Assert.Null(Decide(Given(), new VolumeCommand.AddBitmap(new('x', 1023), null, false, true)).Refusal);
    }

    [Fact]
    public void Commands_on_an_unknown_bitmap_are_refused_in_the_words_of_qemu()
    {
        foreach (var command in new VolumeCommand[]
        {
            new VolumeCommand.RemoveBitmap("zz"), new VolumeCommand.ClearBitmap(
                "zz"), new VolumeCommand.EnableBitmap("zz"), new VolumeCommand.DisableBitmap("zz"),
        })
            Assert.Equal(Refusal.NotFound("Dirty bitmap 'zz' not found"), Decide(Given(), command).Refusal);
    }

    [Fact]
    public void Later_commands_of_a_list_see_earlier_ones_and_one_refusal_refuses_all()
    {
        VolumeCommand add = new VolumeCommand.AddBitmap("b1", 4096, false, true);

        var done = VolumeDecider.Decide([add, new VolumeCommand.DisableBitmap("b1")], Given(), 7, _now);
        var refused = VolumeDecider.Decide([add, add], Given(), 7, _now);

        Assert.Equal([new BitmapAdded("b1", 4096, false, true, 7), new BitmapDisabled("b1", 7)], done.Events);
        Assert.False(done.After.Bitmap("b1")!.Recording);
        Assert.Empty(refused.Events);
        Assert.Equal("exists", refused.Refusal!.Code);
        Assert.Equal(Given() with { Sizes = refused.After.Sizes }, refused.After);
    }

    [Theory]
    [InlineData("nightly", true)]
    [InlineData("a..b", false)]
    [InlineData("a@b", false)]
    [InlineData("", false)]
    [InlineData("a\tb", false)]
    public void Checkpoint_names_are_what_points_can_carry(string name, bool good)
    {
        Assert.Equal(good, Decide(Given(), new VolumeCommand.CreateCheckpoint(name, ["v"])).Refusal is null);
    }

    [Theory]
    [InlineData("disk-1.img", true)]
    [InlineData(".hidden", false)]
    [InlineData("-x", false)]
    [InlineData("a/b", false)]
    [InlineData("", false)]
    public void Volume_names_are_also_names_of_files(string name, bool good) =>
        Assert.Equal(good, Names.RefuseVolume(name) is null);

    [Fact]
    public void Transient_bitmaps_end_with_the_agent_that_they_were_added_under_and_persistent_ones_do_not()
    {
        var (before, now) = (Guid.NewGuid(), Guid.NewGuid());
        var state = Given(
            new BitmapAdded("keep", 65536, false, true, 0) { Run = before }, new BitmapAdded("go", 65536, false, false, 0) { Run = before },
            new BitmapAdded("new", 65536, false, false, 0) { Run = now });

        // The first meeting was cut off and comes again, when clients may have added some already.
        Assert.Equal([new BitmapRemoved("go", "transient", 9)], VolumeDecider.Decide(
            [new VolumeCommand.EndTransientBitmaps(now, JobsToo: true)], state, 9, _now).Events);
    }

    // Method: random writes and commands; naive sets of blocks are the model, and the replay is compared at every
    // LSN cut.
    [Fact]
    public void Replay_equals_a_naive_fold_at_every_cut_of_a_random_history()
    {
        Gen.Int[0, int.MaxValue].Sample(seed =>
        {
            var history = new RandomHistory(seed, Size);
            for (var cut = 0; cut <= history.LastLsn; cut += 3)
            {
                using var replay = new BitmapReplay();
                var number = 0;
                foreach (var happened in history.Through(cut))
                    replay.Apply(happened, ++number, _now, cut);

                var expected = history.Model(cut);
                Assert.Equal(expected.Keys.Order(), replay.State.Bitmaps.Select(b => b.Name).Order());
                foreach (var (name, (granularity, blocks)) in expected)
                    Assert.Equal(
                        blocks.Order(),
                        Enumerable.Range(0, (int)replay.Bits(name).BlockCount).Where(
                            b => replay.Bits(name).IsDirty(b)).Select(b => (long)b));
            }
        }, iter: 25);
    }

    private static VolumeState Given(params IVolumeEvent[] events)
    {
        var state = new VolumeState().Apply(
            new VolumeCreated("v", Size, "file:/v", "/v", false, "process", "stall", 0), 1, _now);
        return events.Aggregate(state, (s, e) => s.Apply(e, s.Event + 1, _now));
    }

    private static Decision Decide(VolumeState state, VolumeCommand command) =>
        VolumeDecider.Decide([command], state, state.LastLsn, _now);

    /// <summary>A history and, beside it, what a plain set of blocks makes of it.</summary>
    private sealed class RandomHistory
    {
        private readonly List<IVolumeEvent> _events;

        public RandomHistory(int seed, long size)
        {
            var random = new Random(seed);
            _events = [new VolumeCreated("v", size, "file:/v", "/v", false, "process", "stall", 0)];
            HashSet<string> names = [];
            for (var step = 0; step < 12; step++)
            {
                var name = $"b{random.Next(3)}";
                IVolumeEvent? command = (random.Next(5), names.Contains(name)) switch
                {
                    (0 or 1, false) => new BitmapAdded(
                        name, 512L << random.Next(9), random.Next(3) == 0, true, LastLsn),
                    (0, true) => new BitmapCleared(name, LastLsn),
                    (1, true) => new BitmapDisabled(name, LastLsn),
                    (2, true) => new BitmapEnabled(name, LastLsn),
                    (3, true) => new BitmapRemoved(name, "command", LastLsn),
                    _ => null,
                };
                if (command is BitmapAdded)
                    names.Add(name);
                if (command is BitmapRemoved)
                    names.Remove(name);
                if (command is not null)
                    _events.Add(command);
                AddWrites(random, size);
            }
        }

        public long LastLsn { get; private set; }

        public IEnumerable<IVolumeEvent> Through(long lsn) => _events.Where(e => e switch
        {
            WritesRecorded w => w.Packed.FirstLsn <= lsn,
            ICommandEvent c => c.AtLsn < lsn || c is VolumeCreated,
            _ => true,
        });

        public Dictionary<string, (long Granularity, HashSet<long> Blocks)> Model(long lsn)
        {
            Dictionary<string, (long Granularity, HashSet<long> Blocks)> model = [];
            HashSet<string> recording = [];
            foreach (var happened in Through(lsn))
            {
                switch (happened)
                {
                    case BitmapAdded e:
                        model[e.Name] = (e.Granularity, []);
                        _ = e.Disabled ? recording.Remove(e.Name) : recording.Add(e.Name);
                        break;
                    case BitmapCleared e: model[e.Name].Blocks.Clear(); break;
                    case BitmapDisabled e: recording.Remove(e.Name); break;
                    case BitmapEnabled e: recording.Add(e.Name); break;
                    case BitmapRemoved e: model.Remove(e.Name); recording.Remove(e.Name); break;
                    case WritesRecorded e:
                        foreach (var w in e.Packed)
                            foreach (var name in w.Lsn <= lsn ? recording : [])
                                for (var b = w.Offset / model[name].Granularity; b <= (
                                    w.End - 1) / model[name].Granularity; b++)
                                    model[name].Blocks.Add(b);
                        break;
                }
            }

            return model;
        }

        private void AddWrites(Random random, long size)
        {
            var writes = Enumerable.Range(1, random.Next(1, 6)).Select(i => new SingleWrite(
                LastLsn + i, 1_000_000 + LastLsn, WriteKind.Write, random.NextInt64(
                    size - 9000), random.Next(1, 9000), 1)).ToArray();
            LastLsn = writes[^1].Lsn;
            _ = PackedWrites.TryRead(PackedWrites.Encode(writes, [], []), out var packed);
            _events.Add(new WritesRecorded(packed!));
        }
    }
}
