using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>Retention of a history while clients write, and whatever is killed meanwhile: the history is the old or the new one,
/// never half of each.</summary>
public sealed class RetentionCrashTests : IAsyncLifetime
{
    private const long Volume = 64 << 20;
    private const long Base = 32 << 20;

    private Ledger _ledger = null!;

    public async ValueTask InitializeAsync()
    {
        _ledger = await Ledger.StartAsync();
        _ledger.Json("volume", "create", "v", "--size", $"{Volume}");
        _ledger.Json("bitmap", "add", "v", "b0", "--granularity", "512");
    }

    public async ValueTask DisposeAsync() => await _ledger.DisposeAsync();

    // Method: a lock holds the transaction when the events are replaced in it and it is not committed; the server is killed
    // there. Then a trigger holds the deletion of the archived events behind the commit, and the server is killed there.
    [Fact]
    public async Task A_server_killed_in_the_middle_leaves_the_old_history_or_the_new_one()
    {
        Grow();
        _ledger.Json("checkpoint", "create", "v", "c");
        Grow();
        var (old, bits, since) = (Rows(), Bits(), Extents("checkpoint:c"));
        await KilledAsync(
            "begin; lock table bitmapledger.union_nodes in share mode; select pg_sleep(600)", "delete from bitmapledger.union_nodes%");
        await Waiting.UntilAsync(() => Rows() == old);
        Assert.Equal((bits, since), (Bits(), Extents("checkpoint:c")));
        Assert.True(_ledger.Json("verify", "v").GetProperty("equal").GetBoolean());

        Sql(
            """
            create function bitmapledger.hold() returns trigger language plpgsql as $$
            begin perform pg_advisory_xact_lock(4711); raise 'nobody waits for this any more'; end $$;
            create trigger hold before delete on bitmapledger.mt_streams for each row execute function bitmapledger.hold();
            """);
        await KilledAsync("select pg_advisory_lock(4711); select pg_sleep(600)", "delete from bitmapledger.mt_streams%");
        Assert.Equal("0|40", Sql(
            "select count(*) filter (where not is_archived), count(*) filter (where is_archived) from bitmapledger.mt_events where type = 'writes_recorded'"));
        Assert.Equal((bits, since), (Bits(), Extents("checkpoint:c")));
        Assert.True(_ledger.Json("verify", "v").GetProperty("equal").GetBoolean());

        Sql("drop trigger hold on bitmapledger.mt_streams");
        var again = _ledger.Json("history", "retain", "v", "--exact", "0s", "--coalesced", "1y");
        Assert.Equal(0, again.GetProperty("history").GetProperty("events_before").GetInt64());
        Assert.Equal("0|1", Sql(
            "select (select count(*) from bitmapledger.mt_events where is_archived), (select count(*) from bitmapledger.mt_streams)"));
        Assert.Equal((bits, since), (Bits(), Extents("checkpoint:c")));
        _ledger.Json("projection", "rebuild");
        Assert.Equal((bits, since), (Bits(), Extents("checkpoint:c")));
        _ledger.Bml("verify", "v").Expect();
        _ledger.Bml("check").Expect();
    }

    // Method: a client writes each sector once and tells which were acknowledged; retention goes on over and over, and the
    // server, PostgreSQL and both are killed at any moment of it.
    [Fact]
    public async Task Writes_that_were_acknowledged_are_in_every_answer_whatever_is_killed_while_the_history_is_retained()
    {
        using var client = new AcknowledgedWrites(_ledger.Export("v"), firstSector: 0);
        await client.UntilAsync(200);
        var random = new Random(5);
        var (retained, killed) = (0, 0);
        foreach (var parts in (string[][])[[], ["server"], ["postgres"], [], ["server", "postgres"], ["server"], []])
        {
            var retaining = Tool.RunAsync(
                Path.Combine(Repository.Programs, "bml"),
                ["history", "retain", "v", "--exact", "0s", "--coalesced", "1y", "--json", "--data-dir", _ledger.DataDirectory]);
            if (parts.Length > 0)
            {
                await Task.WhenAny(retaining, Task.Delay(random.Next(150, 700)));
                _ledger.Kill(parts);
                killed++;
            }

            retained += (await retaining).ExitCode == 0 ? 1 : 0;
            await client.UntilAsync(client.Sectors.Count + 50);
            await _ledger.AnswersAsync("checkpoint", "create", "v", $"c{killed}-{retained}");
        }

        client.Dispose();
        await client.EndedAsync();
        Assert.True(retained >= 3, $"{retained} retentions were carried out, {killed} killed");
        await _ledger.AnswersAsync("history", "retain", "v", "--exact", "0s", "--coalesced", "1y");
        Assert.Equal("0", Sql("select count(*) from bitmapledger.mt_events where type = 'writes_recorded' or is_archived"));
        await _ledger.AnswersAsync("verify", "v");
        _ledger.Bml("check").Expect();
        var (acknowledged, last) = (client.Sectors.Count, client.Sectors.Max());
        Assert.Equal(acknowledged, last + 1);
        foreach (var at in (string[])["changed", "bits"])
        {
            using var document = JsonDocument.Parse(at == "bits" ? Bits() : Extents("start"));
            var extents = at == "bits" ? document.RootElement[0].GetProperty("extents") : document.RootElement;
            var one = Assert.Single(extents.EnumerateArray());
            Assert.Equal(0, one.GetProperty("offset").GetInt64());
            // One write more may have been asked for than was answered.
            Assert.InRange(one.GetProperty("length").GetInt64() / 512, acknowledged, acknowledged + 1);
        }
    }

    /// <summary>Retains while something holds it, and kills the server there, and who asked, since that would ask again.</summary>
    private async Task KilledAsync(string holding, string held)
    {
        using var holder = Tool.Start("psql", [.. Psql, "-c", holding]);
        await Waiting.UntilAsync(() => Sql(
            "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query like '%pg_sleep(600)' and pid <> pg_backend_pid()") == "1");
        using var retaining = Tool.Start(
            Path.Combine(Repository.Programs, "bml"),
            ["history", "retain", "v", "--exact", "0s", "--coalesced", "1y", "--json", "--data-dir", _ledger.DataDirectory]);
        await Waiting.UntilAsync(() => Sql(
            $"select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%{held}'") != "0");
        _ledger.Kill("server");
        retaining.Kill();
        await retaining.WaitForExitAsync();
        Sql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)' and pid <> pg_backend_pid()");
        await holder.WaitForExitAsync();
        await _ledger.AnswersAsync("volume", "list");
    }

    /// <summary>Twenty events of writes: a question ships what was written.</summary>
    private void Grow()
    {
        for (var i = 0; i < 20; i++)
        {
            NbdShell.Write(_ledger.Export("v"), [(Base + 8192L * i, 512L), (4096L * i, 1024L)]);
            _ledger.Json("changed", "v", "--from", "now");
        }
    }

    private string Rows() => Sql(
        "select md5(string_agg(e::text, '' order by seq_id)) from bitmapledger.mt_events e where type in ('writes_recorded', 'history_coalesced')");

    private string Bits() => _ledger.Json("replay", "v", "--at", "now").GetProperty("bitmaps").GetRawText();

    private string Extents(string from)
    {
        var changed = _ledger.Json("changed", "v", "--from", from, "--granularity", "512");
        Assert.True(changed.GetProperty("exact").GetBoolean());
        return changed.GetProperty("extents").GetRawText();
    }

    private string[] Psql => ["-h", Path.Combine(_ledger.DataDirectory, "postgres", "run"), "-U", "postgres", "-d", "bitmapledger", "-At"];

    private string Sql(string sql) => Tool.Run("psql", [.. Psql, "-c", sql]).Expect().Output.Trim();
}
