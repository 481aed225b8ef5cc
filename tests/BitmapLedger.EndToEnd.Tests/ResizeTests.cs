using System.Diagnostics;
using System.Globalization;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>A volume that gets another size while it is served.</summary>
public sealed class ResizeTests : IAsyncLifetime
{
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(2);
    private Ledger _ledger = null!;

    public async ValueTask InitializeAsync()
    {
        _ledger = await Ledger.StartAsync();
        _ledger.Json("volume", "create", "v", "--size", "1M");
        _ledger.Json("bitmap", "add", "v", "b0");
    }

    public ValueTask DisposeAsync() => _ledger.DisposeAsync();

    [Fact]
    public async Task Bits_behind_a_new_end_go_and_do_not_come_back_through_kills_of_server_and_agent()
    {
        NbdShell.Write(_ledger.Export("v"), [(0, 512), (1_000_000, 512)]);
        _ledger.Json("volume", "resize", "v", "--size", "512K");
        Assert.Equal([(0, 65536)], Dirty());
        NbdShell.Write(_ledger.Export("v"), [((512 << 10) - 512, 512)]);
        _ledger.Kill("agent");
        await _ledger.AnswersAsync("volume", "resize", "v", "--size", "2M");
        NbdShell.Write(_ledger.Export("v"), [((2 << 20) - 512, 512)]);
        _ledger.Kill("server");
        await _ledger.AnswersAsync("verify", "v");

        Assert.Equal([(0, 65536), (458752, 65536), (2031616, 65536)], Dirty());
        Assert.Equal([1 << 20, 512 << 10, 2 << 20], Sizes());
        Assert.Equal("00", Bytes(1_000_000));
        Assert.Equal(2 << 20, _ledger.Json("volume", "show", "v").GetProperty("size").GetInt64());
    }

    // Method: a lock in PostgreSQL holds the event back when the Agent has resized already, and the server is killed there.
    [Fact]
    public async Task A_server_killed_between_the_resize_and_its_event_records_both_it_and_the_writes_behind_the_old_end()
    {
        using var limit = new CancellationTokenSource(_limit);
        Process resizing;
        using (var holding = Tool.Start("psql", [
            "-h", Path.Combine(_ledger.DataDirectory, "postgres", "run"), "-U", "postgres", "-d", "bitmapledger", "-Atc",
            "begin; lock table bitmapledger.mt_streams in exclusive mode; select 'held'; select pg_sleep(600)"]))
        {
            try
            {
                await Waiting.UntilAsync(() => Sql(
                    "select count(*) from pg_locks where mode = 'ExclusiveLock' and relation = 'bitmapledger.mt_streams'::regclass") == "1");
                resizing = Tool.Start(
                    Path.Combine(Repository.Programs, "bml"), ["volume", "resize", "v", "--size", "2M", "--data-dir", _ledger.DataDirectory]);
                await Waiting.UntilAsync(() => Tool.Run("nbdinfo", "--size", _ledger.Export("v")).Output.Trim() == "2097152");
                NbdShell.Write(_ledger.Export("v"), [(1 << 20, 512)]);
                _ledger.Kill("server");
                NbdShell.Write(_ledger.Export("v"), [((2 << 20) - 512, 512)]);
            }
            finally
            {
                holding.Kill();
                await holding.WaitForExitAsync();
                _ = Sql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()");
            }
        }

        // It may have asked the next server again, and been answered well or not.
        using (resizing)
            await resizing.WaitForExitAsync(limit.Token);
        await _ledger.AnswersAsync("verify", "v");

        Assert.Equal([(1 << 20, 65536), (2031616, 65536)], Dirty());
        Assert.Equal([1 << 20, 2 << 20], Sizes().Distinct());
    }

    private (long, long)[] Dirty() => Extents.Of(_ledger.Json("replay", "v", "--at", "now").GetProperty("bitmaps")[0]);

    /// <summary>The size it was created with, then what each resize made of it.</summary>
    private long[] Sizes() =>
    [
        .. _ledger.Json("history", "v", "--type", "VolumeCreated", "--type", "VolumeResized").GetProperty("events").EnumerateArray()
            .Select(e => e.GetProperty("data").GetProperty("size").GetInt64()),
    ];

    private string Bytes(int offset) => NbdShell.Run(
        _ledger.Export("v"), string.Create(CultureInfo.InvariantCulture, $"print(h.pread(1, {offset}).hex())")).Output.Trim();

    private string Sql(string sql) => Tool.Run(
        "psql", "-h", Path.Combine(_ledger.DataDirectory, "postgres", "run"), "-U", "postgres", "-d", "bitmapledger", "-Atc", sql)
        .Expect().Output.Trim();
}
