using System.Collections.Concurrent;
using BitmapLedger.Testing;

namespace BitmapLedger.Hosting.Tests;

public sealed class SupervisorTests
{
    [Fact]
    public void The_pause_before_a_restart_doubles_up_to_its_limit_and_starts_anew_after_a_calm_while()
    {
        var clock = new SteppedClock();
        var backoff = new RestartBackoff(clock);

        var pauses = Enumerable.Range(0, 10).Select(_ =>
        {
            clock.Step(TimeSpan.FromSeconds(1));
            var pause = backoff.Died();
            backoff.Started();
            return pause.TotalMilliseconds;
        }).ToArray();

        Assert.Equal([50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000], pauses);
        Assert.True(backoff.IsCrashLoop);
        clock.Step(RestartBackoff.Calm);
        Assert.Equal(RestartBackoff.First, backoff.Died());
        Assert.False(backoff.IsCrashLoop);
    }

    [Fact]
    public async Task A_program_that_dies_again_and_again_is_named_with_the_last_line_it_said_and_holds_up_no_other()
    {
        using var scratch = new ScratchDirectory();
        var directory = DataDirectory.At(scratch["d"]);
        directory.Create();
        ConcurrentQueue<string> said = new();
        using var ending = new CancellationTokenSource();
        var bad = Start(directory, "bad", "echo 'no such disk'; exit 3");
        var good = Start(directory, "good", "sleep 1000");
        var supervising = new Supervisor(TimeProvider.System, said.Enqueue).RunAsync(
            [
                Part("bad", () => bad, () => bad = Start(directory, "bad", "echo 'no such disk'; exit 3")),
                Part("good", () => good, () => good = Start(directory, "good", "sleep 1000")),
            ],
            ending.Token);
        try
        {
            await Waiting.UntilAsync(() => said.Any(l => l.Contains("a crash loop", StringComparison.Ordinal)));
            var first = good.Id;
            ProcessId.Kill(first);
            await Waiting.UntilAsync(() => good.Id != first && good.IsAlive);
        }
        finally
        {
            await ending.CancelAsync();
            await supervising;
            await good.StopAsync(TimeSpan.FromMinutes(1));
        }

        var loop = said.First(l => l.Contains("a crash loop", StringComparison.Ordinal));
        Assert.StartsWith("bad died with 3, 3 times in a row now (a crash loop); it last said: no such disk; ", loop, StringComparison.Ordinal);
        Assert.Contains("good died with 137; starting it again in 50 ms", said);
        Assert.Contains("bad died with 3; starting it again in 100 ms", said);
    }

    // As of a pid file on a disk without room: whoever watches must not die of it.
    [Fact]
    public async Task A_start_that_the_disk_refuses_is_said_and_tried_again()
    {
        var attempts = 0;
        ConcurrentQueue<string> said = new();
        using var ending = new CancellationTokenSource();
        var supervising = new Supervisor(TimeProvider.System, said.Enqueue).RunAsync(
            [
                new("part", () => attempts > 1, () => null, _ => ++attempts == 1
                    ? Task.FromException(new IOException("No space left on device"))
                    : Task.CompletedTask, () => ""),
            ],
            ending.Token);
        await Waiting.UntilAsync(() => attempts > 1);
        await ending.CancelAsync();
        await supervising;

        Assert.Contains("part does not start: No space left on device", said);
    }

    [Fact]
    public async Task A_child_is_found_by_the_next_parent_and_not_mistaken_for_that_of_another_data_directory()
    {
        using var scratch = new ScratchDirectory();
        var directory = DataDirectory.At(scratch["d"]);
        var other = DataDirectory.At(scratch["e"]);
        directory.Create();
        other.Create();
        var child = ChildProcess.Start("agent", directory, "sh", ["-c", "sleep 1000; :", "--data-dir", directory.Path]);
        await Waiting.UntilAsync(() => File.Exists(directory.PidFile("agent")));
        File.Copy(directory.PidFile("agent"), other.PidFile("agent"));

        var adopted = ChildProcess.Adopt("agent", directory, "sleep");

        Assert.Equal(child.Id, adopted?.Id);
        Assert.Null(ChildProcess.Adopt("agent", other, "sleep"));
        await adopted!.StopAsync(TimeSpan.FromMinutes(1));
        Assert.False(ProcessId.IsAlive(child.Id));
    }

    private static ChildProcess Start(DataDirectory directory, string name, string script) =>
        ChildProcess.Start(name, directory, "sh", ["-c", script]);

    private static SupervisedPart Part(string name, Func<ChildProcess> child, Action start) => new(
        name, () => child().IsAlive, () => child().ExitCode,
        _ =>
        {
            start();
            return Task.CompletedTask;
        },
        () => child().LastLine());

    private sealed class SteppedClock : TimeProvider
    {
        private long _now = 1;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public void Step(TimeSpan time) => _now += time.Ticks;

        public override long GetTimestamp() => _now;
    }
}
