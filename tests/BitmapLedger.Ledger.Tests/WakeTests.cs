using BitmapLedger.Ledger.Rebuilding;

namespace BitmapLedger.Ledger.Tests;

/// <summary>When the daemon is woken: at once while little is appended, and no more often than pays under a stream of appends.</summary>
public sealed class WakeTests(PostgresFixture postgres)
{
    private static readonly TimeSpan _long = TimeSpan.FromMinutes(1);

    [Fact]
    public void Appends_that_come_now_and_then_wake_at_once()
    {
        var pace = new WakePace();

        for (var i = 0; i < 20; i++)
            Assert.Equal(TimeSpan.Zero, pace.Next(WakePace.Interval * i));
    }

    [Fact]
    public void Of_a_stream_of_appends_the_first_few_wake_at_once_and_then_one_in_every_interval()
    {
        var pace = new WakePace();
        var now = TimeSpan.FromHours(1);

        for (var i = 0; i < WakePace.BurstMax; i++)
            Assert.Equal(TimeSpan.Zero, pace.Next(now));
        for (var i = 0; i < 5; i++)
        {
            var pause = pace.Next(now);
            Assert.Equal(WakePace.Interval, pause);
            now += pause;
        }

        // A quiet while, and the next few are at once again.
        now += WakePace.Interval * WakePace.BurstMax;
        for (var i = 0; i < WakePace.BurstMax; i++)
            Assert.Equal(TimeSpan.Zero, pace.Next(now));
    }

    [Fact]
    public async Task A_commit_between_two_waits_ends_the_next_one_at_once()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var wakeup = (AppendWakeup)ledger.Store.Options.Projections.Wakeup!;

        await wakeup.WaitAsync(_long, CancellationToken.None).WaitAsync(_long / 2);
        await ledger.AppendAsync(1, new Domain.BitmapAdded("b0", 4096, false, true, 0));
        await wakeup.WaitAsync(_long, CancellationToken.None).WaitAsync(_long / 2);

        using var none = new CancellationTokenSource(TimeSpan.FromMilliseconds(100));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => wakeup.WaitAsync(_long, none.Token));
    }
}
