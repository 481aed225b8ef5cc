using System.Diagnostics;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>Meta contexts of the past while those who know it are away.</summary>
public sealed class MetaContextOutageTests : IAsyncLifetime
{
    private const string Range = "x-bitmapledger:changed:lsn:1..now";
    private const long MiB = 1 << 20;

    /// <summary>What a client waits for an answer, a slow machine, and no more.</summary>
    private static readonly TimeSpan _seconds = TimeSpan.FromSeconds(25);

    private Ledger _ledger = null!;

    public async ValueTask InitializeAsync()
    {
        _ledger = await Ledger.StartAsync();
        _ledger.Json("volume", "create", "v", "--size", "8M");
        _ledger.Json("bitmap", "add", "v", "b0");
        NbdShell.Write(_ledger.Export("v"), [(0, 512), (MiB, 512)]);
    }

    public async ValueTask DisposeAsync()
    {
        Posix.Signal(_ledger.Pid("server"), Posix.SigCont);
        _ledger.ThawPostgres();
        await _ledger.DisposeAsync();
    }

    [Fact]
    public async Task Without_a_server_a_range_is_not_negotiated_at_once_and_what_was_negotiated_goes_on()
    {
        var seen = new List<string>();
        using var told = new ToldShell(["-c", $"""
            {MetaContexts.Script}
            h = connect({MetaContexts.Quoted(_ledger.Export("v"))}, "{Range}", "qemu:dirty-bitmap:b0")
            show("first", h, "{Range}")
            sys.stdin.readline()
            h.pwrite(b"x" * 512, 5 << 20)
            show("second", h, "{Range}")
            """], words =>
        {
            lock (seen)
                seen.Add(string.Join(' ', words));
        });
        await told.UntilAsync(() => Seen() == 1, "the first look");
        // The one that starts it again must not.
        _ledger.Kill("serve", "server");

        var watch = Stopwatch.StartNew();
        var refused = Tool.Run("nbdinfo", $"--map={Range}", _ledger.Export("v"));
        var bitmap = MetaContexts.Map(_ledger.Export("v"), "qemu:dirty-bitmap:b0");
        var both = MetaContexts.Run(_ledger.Export("v"), $"""
            h = connect(uri, "{Range}", "qemu:dirty-bitmap:b0")
            show("b0" if not h.can_meta_context("{Range}") else "wrong", h, "qemu:dirty-bitmap:b0")
            """);
        Assert.InRange(watch.Elapsed, TimeSpan.Zero, _seconds);
        await told.GoOnAsync();
        await told.EndedAsync();

        Assert.Equal(1, refused.ExitCode);
        Assert.Equal([(0, 65_536), (MiB, 65_536)], bitmap);
        Assert.Equal(bitmap, both["b0"]);
        Assert.Equal([$"first {MiB}+65536", $"second {MiB}+65536 {5 * MiB}+65536"], seen);
        Assert.Contains("is not negotiated with unix:pid=", AgentLog(), StringComparison.Ordinal);
        Assert.Contains(": no server is connected", AgentLog(), StringComparison.Ordinal);

        await _ledger.ServeAsync();
        await _ledger.AnswersAsync("verify", "v");
        Assert.Equal([(MiB, 65_536), (5 * MiB, 65_536)], MetaContexts.Map(_ledger.Export("v"), Range));

        int Seen()
        {
            lock (seen)
                return seen.Count;
        }
    }

    [Fact]
    public async Task A_server_that_hangs_keeps_its_own_client_for_seconds_and_no_other()
    {
        Posix.Signal(_ledger.Pid("server"), Posix.SigStop);
        var watch = Stopwatch.StartNew();

        var asking = Tool.RunAsync("nbdinfo", [$"--map={Range}", _ledger.Export("v")]);
        var others = 0;
        while (!asking.IsCompleted)
        {
            NbdShell.Write(_ledger.Export("v"), [(2 * MiB, 512)]);
            others++;
        }

        Assert.Equal(1, (await asking).ExitCode);
        Assert.InRange(watch.Elapsed, TimeSpan.FromSeconds(4), _seconds);
        Assert.True(others > 1, $"{others} other clients were served");
        Assert.Contains(": the server did not answer within 5 s", AgentLog(), StringComparison.Ordinal);
        Posix.Signal(_ledger.Pid("server"), Posix.SigCont);
        // Its late answer is thrown away.
        Assert.Equal([(MiB, 65_536), (2 * MiB, 65_536)], MetaContexts.Map(_ledger.Export("v"), Range));
        await Waiting.UntilAsync(() => Directory.GetFiles(Path.Combine(_ledger.DataDirectory, "run", "bits")).Length == 0);
    }

    [Fact]
    public void Without_PostgreSQL_a_range_is_not_negotiated_and_the_log_names_it()
    {
        _ledger.FreezePostgres();
        var watch = Stopwatch.StartNew();

        var refused = Tool.Run("nbdinfo", $"--map={Range}", _ledger.Export("v"));

        Assert.Equal(1, refused.ExitCode);
        Assert.InRange(watch.Elapsed, TimeSpan.Zero, _seconds);
        Assert.Matches("is not negotiated with unix:pid=.*(PostgreSQL is away|did not answer)", AgentLog());
        NbdShell.Write(_ledger.Export("v"), [(3 * MiB, 512)]);
    }

    private string AgentLog() => File.ReadAllText(Path.Combine(_ledger.DataDirectory, "log", "agent.log"));
}
