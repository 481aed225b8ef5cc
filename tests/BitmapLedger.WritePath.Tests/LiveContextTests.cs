using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.WritePath.Tests;

/// <summary>Ranges that go on: what the ledger says of the past, and every write since.</summary>
public sealed class LiveContextTests
{
    private const int Writers = 4;
    private const long SectorsPerWriter = 1 << 12;

    // Method: the ledger's answer is as of the moment when it is asked, and a write comes between it and the end of the
    // negotiation. A watch that began later than the question would have missed it.
    [Fact]
    public void A_write_after_the_ledger_looked_and_before_the_context_is_there_is_in_it()
    {
        using var test = new TestContexts(1 << 20);
        test.Rotate();
        using var writer = test.Volume.Connect("t")!;
        TestContexts.Write(writer, 1);
        test.Answers = question =>
        {
            var answer = test.Answer(question);
            TestContexts.Write(writer, 2);
            return answer;
        };

        var context = test.Make("changed:lsn:0..now").Single();
        TestContexts.Write(writer, 3);
        var first = test.Changed(context);
        TestContexts.Write(writer, 4);

        Assert.Equal([1, 2, 3], first.Order());
        Assert.Equal([1, 2, 3, 4], test.Changed(context).Order());
    }

    // Method: each sector is written once, by one of four writers, while commands cut the volume all the time and clients ask for
    // all that came after some write. What was answered before a client looks is in its context; what was answered before
    // the range begins is not.
    [Fact]
    public async Task Among_writers_and_commands_a_context_holds_every_write_of_its_range_that_was_answered_and_none_before_it()
    {
        using var test = new TestContexts(Writers * SectorsPerWriter * TestContexts.Sector);
        test.Rotate();
        using var stop = new CancellationTokenSource();
        var answered = new long[Writers];
        var work = Enumerable.Range(0, Writers).Select(w => Alone(() => Write(test.Volume, w, answered, stop.Token)))
            .Append(Alone(() => Cut(test, stop.Token))).ToArray();

        var round = 0;
        Queue<IDisposable> open = [];
        for (; !work[..Writers].Any(w => w.IsCompleted); round++)
        {
            var before = Answered(answered);
            var from = test.Volume.Status().LastLsn;
            // One more of each writer may have been under way.
            var after = Answered(answered).Select(a => a + 1).ToArray();
            var context = Assert.Single(test.Make($"changed:lsn:{from}..now"));
            for (var look = 0; look < 3; look++)
            {
                var sure = Answered(answered);
                var changed = test.Changed(context);
                for (var writer = 0; writer < Writers; writer++)
                {
                    Assert.All(Sectors(writer, after[writer], sure[writer]), s => Assert.Contains(s, changed));
                    Assert.All(Sectors(writer, 0, before[writer]), s => Assert.DoesNotContain(s, changed));
                }
            }

            // Some stay for a while and some go at once.
            open.Enqueue((IDisposable)context);
            while (open.Count > round % 7)
                open.Dequeue().Dispose();
        }

        await stop.CancelAsync();
        await Task.WhenAll(work);
        Assert.True(round > 5, $"{round} rounds");
        Assert.Empty(test.Said);
    }

    [Fact]
    public void What_is_cut_off_counts_as_changed_when_the_volume_grows_again()
    {
        using var test = new TestContexts(64 * TestContexts.Sector);
        test.Rotate();
        using var writer = test.Volume.Connect("t")!;
        var context = test.Make("changed:lsn:0..now").Single();
        TestContexts.Write(writer, 10);
        TestContexts.Write(writer, 60);

        test.Rotate(48 * TestContexts.Sector);
        Assert.Equal([10], test.Changed(context).Order());
        TestContexts.Write(writer, 11);
        test.Rotate(80 * TestContexts.Sector);
        TestContexts.Write(writer, 79);

        Assert.Equal([10, 11, .. Enumerable.Range(48, 16), 79], test.Changed(context).Order().Select(s => (int)s));
        test.Rotate();
        Assert.Equal([10, 11, .. Enumerable.Range(48, 16), 79], test.Changed(context).Order().Select(s => (int)s));
    }

    [Fact]
    public void Contexts_that_began_at_different_times_each_hold_what_came_since()
    {
        using var test = new TestContexts(1 << 20);
        test.Rotate();
        using var writer = test.Volume.Connect("t")!;
        List<IMetaContext> contexts = [];
        for (var sector = 0; sector < 12; sector++)
        {
            contexts.Add(test.Make($"changed:lsn:{sector}..now").Single());
            TestContexts.Write(writer, sector);
            if (sector == 6)
                test.Rotate();
        }

        for (var i = 0; i < 12; i += 3)
            ((IDisposable)contexts[i]).Dispose();
        foreach (var i in Enumerable.Range(0, 12).Where(i => i % 3 > 0))
            Assert.Equal(Enumerable.Range(i, 12 - i), test.Changed(contexts[i]).Order().Select(s => (int)s));
    }

    [Fact]
    public void A_range_that_has_ended_keeps_nobody_waiting_and_takes_no_more_writes()
    {
        using var test = new TestContexts(1 << 20);
        test.Rotate();
        using var writer = test.Volume.Connect("t")!;
        TestContexts.Write(writer, 1);
        var rotations = test.Volume.Status().Rotations.Count;

        var context = test.Make("changed:lsn:0..lsn:1").Single();
        TestContexts.Write(writer, 2);

        Assert.Equal([1], test.Changed(context));
        Assert.Equal(rotations, test.Volume.Status().Rotations.Count);
        Assert.Empty(test.BitsFiles);
    }

    private static Task Alone(Action work) =>
        Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private static void Write(TrackedVolume volume, int number, long[] answered, CancellationToken cancellation)
    {
        using var writer = volume.Connect($"w{number}")!;
        for (var i = 0L; i < SectorsPerWriter && !cancellation.IsCancellationRequested; i++)
        {
            TestContexts.Write(writer, (number * SectorsPerWriter) + i);
            Volatile.Write(ref answered[number], i + 1);
            if (i % 4 == 3)
                cancellation.WaitHandle.WaitOne(1);
        }
    }

    private static void Cut(TestContexts test, CancellationToken cancellation)
    {
        while (!cancellation.WaitHandle.WaitOne(5))
            test.Rotate();
    }

    private static long[] Answered(long[] answered) => [.. Enumerable.Range(0, Writers).Select(w => Volatile.Read(ref answered[w]))];

    private static IEnumerable<long> Sectors(int writer, long from, long to)
    {
        for (var i = from; i < to; i++)
            yield return (writer * SectorsPerWriter) + i;
    }
}
