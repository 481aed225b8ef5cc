using System.Diagnostics;
using System.Globalization;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>What is asked and done while clients write.</summary>
public sealed class UnderWayTests : IAsyncLifetime
{
    private Ledger _ledger = null!;

    public async ValueTask InitializeAsync()
    {
        _ledger = await Ledger.StartAsync();
        _ledger.Json("volume", "create", "v", "--size", "1G");
        _ledger.Json("bitmap", "add", "v", "b0", "--granularity", "512");
    }

    public ValueTask DisposeAsync() => _ledger.DisposeAsync();

    // Method: the client writes sector 0, 1, 2 …, so every answer must be the first so many sectors, without a hole.
    [Fact]
    public async Task Every_answer_while_a_client_writes_is_a_whole_prefix_and_says_where_it_ends()
    {
        using var client = new AcknowledgedWrites(_ledger.Export("v"), 0);
        var last = 0L;
        for (var round = 0; round < 6; round++)
        {
            await client.UntilAsync(client.Sectors.Count + 100);
            var acknowledged = client.Sectors.Count;
            var changed = _ledger.Json("changed", "v", "--from", "start", "--to", "now", "--granularity", "512");
            var lsn = changed.GetProperty("to").GetProperty("lsn").GetInt64();
            Assert.InRange(lsn, acknowledged, long.MaxValue);
            Assert.InRange(lsn, last, long.MaxValue);
            last = lsn;
            Assert.Equal([(0, lsn * 512)], Extents.Of(changed));
            var replay = _ledger.Json("replay", "v", "--at", $"lsn:{lsn}").GetProperty("bitmaps")[0];
            Assert.Equal([(0, lsn * 512)], Extents.Of(replay));
            Assert.Equal(lsn * 512, replay.GetProperty("count").GetInt64());
        }
    }

    [Fact]
    public async Task A_projection_rebuilt_while_a_client_writes_has_the_same_bits()
    {
        using var client = new AcknowledgedWrites(_ledger.Export("v"), 0);
        for (var round = 0; round < 3; round++)
        {
            await client.UntilAsync(client.Sectors.Count + 200);
            _ledger.Json("checkpoint", "create", "v", $"c{round}");
            _ledger.Json("projection", "rebuild", "bitmap-bits");
            Assert.True(_ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        }

        await Ledgers.AssertWholeAsync(_ledger, client);
        Assert.Equal(0, await BehindAsync());
    }

    [Fact]
    public async Task A_removed_volume_has_its_last_write_before_its_last_event_and_every_acknowledged_one()
    {
        using var first = new AcknowledgedWrites(_ledger.Export("v"), 0);
        using var second = new AcknowledgedWrites(_ledger.Export("v"), 1 << 20);
        await first.UntilAsync(300);
        var id = Assert.Single(Journals());

        var removed = _ledger.Json("volume", "remove", "v", "--command-id", "gone");
        await first.EndedAsync();
        await second.EndedAsync();

        Assert.Equal(
            string.Create(CultureInfo.InvariantCulture, $"volume_removed|{removed.GetProperty("event").GetInt64()}"),
            Sql($"select type || '|' || version from bitmapledger.mt_events where stream_id = '{id}' order by version desc limit 1"));
        // Each client may have had one more request under way.
        var written = first.Sectors.Count + second.Sectors.Count;
        Assert.InRange(removed.GetProperty("lsn").GetInt64(), written, written + 2);
        Assert.Empty(Journals());
        _ledger.Bml("volume", "show", "v").Expect(10);
        Assert.Equal(removed.GetRawText(), _ledger.Json("volume", "remove", "v", "--command-id", "gone").GetRawText());
    }

    // A server that is killed between the last event and the end of the journal leaves the directory behind.
    [Fact]
    public async Task A_journal_left_by_a_removal_that_was_cut_off_goes_at_the_next_start()
    {
        var id = Assert.Single(Journals());
        _ledger.Json("volume", "create", "w", "--size", "1M");
        _ledger.Json("volume", "remove", "v");
        var left = Directory.CreateDirectory(Path.Combine(_ledger.DataDirectory, "journal", id));
        await File.WriteAllTextAsync(Path.Combine(left.FullName, "00000001.seg"), "left behind");

        _ledger.Kill("server");
        await _ledger.AnswersAsync("checkpoint", "create", "w", "c");

        var asked = Stopwatch.StartNew();
        while (Journals().Contains(id))
        {
            Assert.True(asked.Elapsed < TimeSpan.FromMinutes(1), "the journal stays");
            await Task.Delay(50);
        }

        Assert.Single(Journals());
    }

    private string[] Journals() =>
        [.. new DirectoryInfo(Path.Combine(_ledger.DataDirectory, "journal")).GetDirectories().Select(d => d.Name)];

    private string Sql(string sql) => Tool.Run(
        "psql", "-h", Path.Combine(_ledger.DataDirectory, "postgres", "run"), "-U", "postgres", "-d", "bitmapledger", "-Atc", sql)
        .Expect().Output.Trim();

    private async Task<long> BehindAsync()
    {
        var asked = Stopwatch.StartNew();
        while (true)
        {
            var behind = _ledger.Json("projection", "status").GetProperty("projections").EnumerateArray()
                .Sum(p => p.GetProperty("behind").GetInt64());
            if (behind == 0 || asked.Elapsed > TimeSpan.FromMinutes(2))
                return behind;
            await Task.Delay(100);
        }
    }
}
