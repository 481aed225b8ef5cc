using System.Diagnostics;
using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>A projection is built again while fio writes, and whatever ends meanwhile.</summary>
public sealed class RebuildTests : IAsyncLifetime
{
    private Ledger _ledger = null!;
    private Process? _load;

    public async ValueTask InitializeAsync()
    {
        _ledger = await Ledger.StartAsync();
        _ledger.Json("volume", "create", "v", "--size", "256M");
        _ledger.Json("bitmap", "add", "v", "b0");
        Tool.Run("nbdsh", "-u", _ledger.Export("v"), "-c", "[h.pwrite(b'x' * 512, i << 17) for i in range(300)]").Expect();
        _ledger.Json("checkpoint", "create", "v", "c");
        _load = Tool.Start(
            "fio", ["--name=load", "--ioengine=nbd", $"--uri={_ledger.Export("v")}", "--rw=randwrite", "--bs=4k", "--iodepth=4",
                "--rate_iops=2000", "--size=256M", "--time_based", "--runtime=600"]);
        _ = _load.StandardOutput.ReadToEndAsync();
        _ = _load.StandardError.ReadToEndAsync();
    }

    public async ValueTask DisposeAsync()
    {
        EndLoad();
        await _ledger.DisposeAsync();
    }

    // Method: a lock that lets readers pass holds the rebuild in its middle; then the server is killed, and another time
    // PostgreSQL with the lock. What changed up to the checkpoint is asked all the while.
    [Fact]
    public async Task A_rebuild_outlives_the_server_and_postgres_and_no_question_is_answered_otherwise_meanwhile()
    {
        var answer = Changed();
        var first = await HeldAsync(version: 2);
        Assert.Equal(answer, Changed());
        Assert.True(_ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        _ledger.Kill("server");
        // It would ask the next server again, and wait for the end of the rebuild.
        first.Kill();
        await EndedAsync(first);
        await _ledger.AnswersAsync("volume", "list");
        Assert.Equal(2, Projection().GetProperty("building").GetProperty("version").GetInt32());
        Assert.Equal(answer, Changed());
        Sql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()");
        await BuiltAsync(version: 2);
        Assert.Equal(answer, Changed());

        var second = await HeldAsync(version: 3);
        _ledger.Kill("postgres");
        await second.WaitForExitAsync();
        Assert.Equal(11, second.ExitCode);
        await EndedAsync(second);
        await BuiltAsync(version: 3);
        Assert.Equal(answer, Changed());

        _ledger.Json("projection", "rebuild", "union-tree");
        _ledger.Json("projection", "rebuild", "bitmap-bits");
        Assert.Equal(4, Projection().GetProperty("version").GetInt32());
        EndLoad();
        await _ledger.AnswersAsync("verify", "v");
        Assert.Equal(answer, Changed());
        _ledger.Bml("check").Expect();
    }

    [Fact]
    public async Task A_rebuild_that_finds_a_damaged_event_says_which_and_is_given_up()
    {
        await BuiltAsync(version: 1);
        EndLoad();
        _ledger.Json("checkpoint", "create", "v", "d");
        Sql("update bitmapledger.mt_events set bdata = set_byte(bdata, 40, get_byte(bdata, 40) # 1) where version = 3");
        var refused = _ledger.Bml("projection", "rebuild", "bitmap-bits", "--json");
        Assert.NotEqual(0, refused.ExitCode);
        Assert.Contains("event 3", refused.Error, StringComparison.Ordinal);
        Assert.Equal(1, Projection().GetProperty("version").GetInt32());
        Assert.False(Projection().TryGetProperty("building", out _));
    }

    private string Changed() => _ledger.Json("changed", "v", "--from", "start", "--to", "checkpoint:c").GetProperty("extents").GetRawText();

    private JsonElement Projection() => _ledger.Json("projection", "status").GetProperty("projections").EnumerateArray()
        .Single(p => p.GetProperty("name").GetString() == "bitmap-bits");

    /// <summary>Begins a rebuild that cannot go on.</summary>
    /// <returns>The <c>bml projection rebuild</c> that waits for it.</returns>
    private async Task<Process> HeldAsync(int version)
    {
        var holder = Tool.Start("psql", [.. Psql, "-c", "begin; lock table bitmapledger.bitmap_bits in share mode; select pg_sleep(600)"]);
        _ = EndedAsync(holder);
        await Waiting.UntilAsync(() => Sql(
            "select count(*) from pg_locks where relation = 'bitmapledger.bitmap_bits'::regclass and mode = 'ShareLock' and granted") == "1");
        var rebuilding = Tool.Start(
            Path.Combine(Repository.Programs, "bml"), ["projection", "rebuild", "bitmap-bits", "--json", "--data-dir", _ledger.DataDirectory]);
        await Waiting.UntilAsync(() => Projection().TryGetProperty("building", out var building) && building.GetProperty("version").GetInt32() == version);
        Assert.Equal(version - 1, Projection().GetProperty("version").GetInt32());
        Assert.True(Projection().GetProperty("building").GetProperty("behind").GetInt64() > 0);
        return rebuilding;
    }

    private static async Task EndedAsync(Process process)
    {
        await Task.WhenAll(process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        process.Dispose();
    }

    private async Task BuiltAsync(int version) => await Waiting.UntilAsync(() =>
    {
        var status = _ledger.Bml("projection", "status", "--json");
        if (status.ExitCode == 11)
            return false;
        using var document = JsonDocument.Parse(status.Expect().Output);
        var at = document.RootElement.GetProperty("projections").EnumerateArray().Single(p => p.GetProperty("name").GetString() == "bitmap-bits");
        return at.GetProperty("version").GetInt32() == version && !at.TryGetProperty("building", out _);
    });

    private void EndLoad()
    {
        if (_load is null)
            return;
        _load.Kill();
        _load.WaitForExit();
        _load.Dispose();
        _load = null;
    }

    private string[] Psql => ["-h", Path.Combine(_ledger.DataDirectory, "postgres", "run"), "-U", "postgres", "-d", "bitmapledger", "-At"];

    private string Sql(string sql) => Tool.Run("psql", [.. Psql, "-c", sql]).Expect().Output.Trim();
}
