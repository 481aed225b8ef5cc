using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>A journal damaged in the middle: named, refused, and gone on behind by <c>bml repair</c>.</summary>
public sealed class RepairTests
{
    private const long Block = 65536;

    [Fact]
    public async Task A_damaged_journal_is_refused_by_name_and_repair_records_all_but_the_damaged_write()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("volume", "create", "w", "--size", "64M");
        ledger.Json("bitmap", "add", "v", "b0");
        ledger.Json("bitmap", "add", "w", "b0");
        ledger.Json("checkpoint", "create", "v", "before");
        var journal = JournalFiles.Of(ledger, "v");
        WriteUnshipped(ledger, 40);
        ledger.Kill("agent");
        var (file, at) = JournalFiles.DamageRecord(journal, 20);

        await ledger.ServeAsync();

        Assert.Equal("damaged", ledger.Json("volume", "show", "v").GetProperty("state").GetString());
        Assert.Equal("serving", ledger.Json("volume", "show", "w").GetProperty("state").GetString());
        var refused = ledger.Bml("bitmap", "add", "v", "b1").Expect(12);
        Assert.Contains($"{file} is damaged at byte {at}", refused.Error, StringComparison.Ordinal);
        Assert.Contains("bml repair v", refused.Error, StringComparison.Ordinal);
        Assert.Contains(file, ledger.Bml("check").Expect(2).Output, StringComparison.Ordinal);
        Tool.Run("nbdinfo", "--size", ledger.Export("v")).Expect(1);
        Assert.Equal(["w"], Nodes(ledger));

        var repaired = ledger.Json("repair", "v");

        var gap = Assert.Single(repaired.GetProperty("damage").EnumerateArray());
        Assert.Equal((file, at), (gap.GetProperty("file").GetString(), gap.GetProperty("byte").GetInt64()));
        Assert.Equal((19, 20), (gap.GetProperty("from_lsn").GetInt64(), gap.GetProperty("to_lsn").GetInt64()));
        Assert.True(Directory.Exists(repaired.GetProperty("set_aside").GetString()));
        Assert.Equal(["w", "v"], Nodes(ledger));
        AssertEachWriteOnceBut(ledger, 40, 20);
        AssertAllDirty(ledger);
        NbdShell.Write(ledger.Export("v"), [(50 * Block, 512)]);
        ledger.Json("checkpoint", "create", "v", "behind");
        var since = ledger.Json("changed", "v", "--from", "lsn:40", "--to", "checkpoint:behind");
        Assert.True(since.GetProperty("exact").GetBoolean());
        Assert.Equal([(50 * Block, Block)], Extents.Of(since));
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }

    // Method: a sector of records reads back as zeroes. Under `power` only what the journal calls durable is known to have been
    // there, so the agent flushes and marks it, and writes on; under `process` a record behind it betrays it.
    [Theory]
    [InlineData("power")]
    [InlineData("process")]
    public async Task Records_that_were_durable_and_read_as_zeroes_are_refused_by_name_and_repair_records_all_but_those(string durability)
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M", "--durability", durability);
        ledger.Json("bitmap", "add", "v", "b0");
        var journal = JournalFiles.Of(ledger, "v");
        WriteUnshipped(ledger, 40);
        if (durability == "power")
            await Waiting.UntilAsync(() => JournalFiles.IsMarkedDurable(journal, lsn: 40));
        ledger.Kill("agent");
        var (file, at, lost) = JournalFiles.ZeroSector(journal, 20);

        await ledger.ServeAsync();

        Assert.Equal("damaged", ledger.Json("volume", "show", "v").GetProperty("state").GetString());
        var refused = ledger.Bml("bitmap", "add", "v", "b1").Expect(12).Error;
        Assert.Contains($"{file} is damaged at byte {at}: records that were durable are gone", refused, StringComparison.Ordinal);
        Assert.Contains($"{file} is damaged at byte {at}", ledger.Bml("check").Expect(2).Output, StringComparison.Ordinal);

        var gap = Assert.Single(ledger.Json("repair", "v").GetProperty("damage").EnumerateArray());

        Assert.Equal((file, at), (gap.GetProperty("file").GetString(), gap.GetProperty("byte").GetInt64()));
        Assert.Equal((lost[0] - 1, lost[^1]), (gap.GetProperty("from_lsn").GetInt64(), gap.GetProperty("to_lsn").GetInt64()));
        AssertEachWriteOnceBut(ledger, 40, [.. lost]);
        AssertAllDirty(ledger);
        NbdShell.Write(ledger.Export("v"), [(50 * Block, 512)]);
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }

    [Fact]
    public async Task Damage_under_a_running_agent_stops_the_shipping_of_that_volume_alone_until_it_is_repaired()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("volume", "create", "w", "--size", "64M");
        ledger.Json("bitmap", "add", "v", "b0");
        WriteUnshipped(ledger, 40);
        JournalFiles.DamageRecord(JournalFiles.Of(ledger, "v"), 20);

        await ledger.ServeAsync();
        NbdShell.Write(ledger.Export("w"), [(0, 512)]);

        ledger.Json("checkpoint", "create", "w", "c");
        ledger.Bml("checkpoint", "create", "v", "c").Expect(12);
        Assert.True(ledger.Json("repair", "v").GetProperty("repaired").GetBoolean());
        AssertEachWriteOnceBut(ledger, 40, 20);
        AssertAllDirty(ledger);
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }

    [Fact]
    public async Task A_repair_that_was_cut_off_before_the_journal_was_set_aside_goes_on_and_doubles_nothing()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("bitmap", "add", "v", "b0");
        var journal = JournalFiles.Of(ledger, "v");
        WriteUnshipped(ledger, 40);
        ledger.Kill("agent");
        JournalFiles.DamageRecord(journal, 20);
        await ledger.ServeAsync();
        var first = ledger.Json("repair", "v");
        await ledger.StopAsync();
        // As it lay when the events were there and the directory was not moved yet.
        Directory.Delete(journal, recursive: true);
        Directory.Move(first.GetProperty("set_aside").GetString()!, journal);

        await ledger.ServeAsync();
        var second = ledger.Json("repair", "v");

        Assert.True(second.GetProperty("repaired").GetBoolean());
        Assert.Equal(first.GetProperty("lsn").GetInt64(), second.GetProperty("lsn").GetInt64());
        AssertEachWriteOnceBut(ledger, 40, 20);
        ledger.Bml("check").Expect();
    }

    [Theory]
    [InlineData("boot")]
    [InlineData("ceiling")]
    [InlineData("recovered")]
    public async Task A_damaged_file_beside_the_segments_is_refused_by_name_and_repair_loses_no_record_and_counts_all_as_written(string name)
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("volume", "create", "w", "--size", "64M");
        ledger.Json("bitmap", "add", "v", "b0");
        var file = Path.Combine(JournalFiles.Of(ledger, "v"), name);
        WriteUnshipped(ledger, 40);
        ledger.Kill("agent");
        File.WriteAllBytes(file, new byte[20]);

        await ledger.ServeAsync();

        Assert.Equal("damaged", ledger.Json("volume", "show", "v").GetProperty("state").GetString());
        Assert.Equal("serving", ledger.Json("volume", "show", "w").GetProperty("state").GetString());
        var refused = ledger.Bml("bitmap", "add", "v", "b1").Expect(12).Error;
        Assert.Contains($"{file} is damaged at byte 0: the file does not begin as it should", refused, StringComparison.Ordinal);
        Assert.Contains("bml repair v", refused, StringComparison.Ordinal);
        Assert.Contains($"{file} is damaged at byte 0", ledger.Bml("check").Expect(2).Output, StringComparison.Ordinal);
        Tool.Run("nbdinfo", "--size", ledger.Export("v")).Expect(1);

        var gap = Assert.Single(ledger.Json("repair", "v").GetProperty("damage").EnumerateArray());

        Assert.Equal((file, 0), (gap.GetProperty("file").GetString(), gap.GetProperty("byte").GetInt64()));
        Assert.Equal((40, 40), (gap.GetProperty("from_lsn").GetInt64(), gap.GetProperty("to_lsn").GetInt64()));
        AssertEachWriteOnceBut(ledger, 40);
        var history = ledger.Json("history", "v", "--type", "TrackingLost").GetProperty("events").EnumerateArray().ToList();
        Assert.Contains($"{file} is damaged at byte 0", history[0].GetProperty("data").GetRawText(), StringComparison.Ordinal);
        Assert.Equal([(0, 64L << 20)], Extents.Of(ledger.Json("changed", "v", "--from", "lsn:40")));
        NbdShell.Write(ledger.Export("v"), [(50 * Block, 512)]);
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
        Assert.False(ledger.Json("repair", "v").GetProperty("repaired").GetBoolean());
    }

    // Under a running agent nothing reads it, and nothing goes wrong before it is looked for.
    [Fact]
    public async Task A_damaged_activity_log_is_named_by_check_and_repaired_under_a_running_agent_and_at_a_start_tells_everything()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("bitmap", "add", "v", "b0");
        NbdShell.Write(ledger.Export("v"), [(Block, 512)]);
        var file = Path.Combine(JournalFiles.Of(ledger, "v"), "activity");
        File.WriteAllBytes(file, [.. File.ReadAllBytes(file)[..512], .. new byte[16 * 512]]);

        Assert.Contains($"{file} is damaged at byte 512", ledger.Bml("check").Expect(2).Output, StringComparison.Ordinal);
        Assert.True(ledger.Json("repair", "v").GetProperty("repaired").GetBoolean());
        AssertAllDirty(ledger);
        ledger.Bml("check").Expect();

        ledger.Json("checkpoint", "create", "v", "repaired");
        ledger.Kill("serve", "server", "agent");
        File.WriteAllBytes(file, []);
        await ledger.ServeAsync();
        var since = ledger.Json("changed", "v", "--from", "checkpoint:repaired");
        Assert.False(since.GetProperty("exact").GetBoolean());
        Assert.Equal([(0, 64L << 20)], Extents.Of(since));
        ledger.Bml("check").Expect();
    }

    [Fact]
    public async Task A_file_of_a_later_version_is_refused_by_its_version_alone_and_repair_leaves_it_alone()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("volume", "create", "w", "--size", "64M");
        NbdShell.Write(ledger.Export("v"), [(Block, 512)]);
        var journal = JournalFiles.Of(ledger, "v");
        await ledger.StopAsync();
        var before = File.ReadAllBytes(Path.Combine(journal, "boot"));
        JournalFiles.RaiseVersion(Path.Combine(journal, "boot"), versionAt: 6, version: 9);

        await ledger.ServeAsync();

        var named = $"{journal}/boot is of version 9";
        Assert.Equal("away", ledger.Json("volume", "show", "v").GetProperty("state").GetString());
        Assert.Contains(named, ledger.Bml("repair", "v").Expect(1).Error, StringComparison.Ordinal);
        var lines = ledger.Bml("check").Expect(2).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Contains(named, lines[Array.FindIndex(lines, l => l.StartsWith("v: ", StringComparison.Ordinal)) + 1], StringComparison.Ordinal);
        Assert.EndsWith(": whole", lines.Single(l => l.StartsWith("w: ", StringComparison.Ordinal)), StringComparison.Ordinal);
        await ledger.StopAsync();
        File.WriteAllBytes(Path.Combine(journal, "boot"), before);
        await ledger.ServeAsync();
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        Assert.True(ledger.Json("changed", "v", "--from", "start").GetProperty("exact").GetBoolean());
    }

    [Fact]
    public async Task An_agent_whose_list_of_volumes_is_damaged_offers_them_again_when_the_server_comes()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        NbdShell.Write(ledger.Export("v"), [(Block, 512)]);
        await ledger.StopAsync();
        var list = Path.Combine(ledger.DataDirectory, "agent", "volumes.json");
        File.WriteAllText(list, File.ReadAllText(list).Replace("\"v\"", "\"u\"", StringComparison.Ordinal));

        await ledger.ServeAsync();

        Assert.Equal("serving", ledger.Json("volume", "show", "v").GetProperty("state").GetString());
        Assert.Contains($"{list} is damaged at byte 0", ledger.Logs(), StringComparison.Ordinal);
        Assert.True(ledger.Json("changed", "v", "--from", "start").GetProperty("exact").GetBoolean());
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
    }

    [Fact]
    public async Task A_whole_journal_needs_no_repair_and_an_unknown_volume_has_none()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        NbdShell.Write(ledger.Export("v"), [(0, 512)]);

        var answer = ledger.Json("repair", "v");

        Assert.False(answer.GetProperty("repaired").GetBoolean());
        Assert.Contains("nothing to repair", ledger.Bml("repair", "v").Expect().Output, StringComparison.Ordinal);
        ledger.Bml("repair", "nowhere").Expect(10);
        Assert.Equal("serving", ledger.Json("volume", "show", "v").GetProperty("state").GetString());
    }

    /// <summary>What QMP shows: each node with its bitmap.</summary>
    private static List<string> Nodes(Ledger ledger)
    {
        using var qmp = new QmpLines(Path.Combine(ledger.DataDirectory, "run", "qmp.sock"));
        var nodes = qmp.Execute("""{"execute":"query-named-block-nodes"}""")!.AsArray();
        Assert.All(nodes, n => Assert.Equal("b0", (string?)n!["dirty-bitmaps"]![0]!["name"]));
        return [.. nodes.Select(n => (string)n!["node-name"]!)];
    }

    /// <summary>Writes block 1, 2, 3 … of volume v while the agent is alone.</summary>
    private static void WriteUnshipped(Ledger ledger, int count)
    {
        ledger.Kill("serve", "server");
        NbdShell.Write(ledger.Export("v"), Enumerable.Range(1, count).Select(i => (i * Block, 512L)));
    }

    private static void AssertEachWriteOnceBut(Ledger ledger, int count, params long[] lost)
    {
        var blame = ledger.Json("blame", "v", "--offset", "0", "--length", "64M", "--limit", "1000");
        Assert.False(blame.GetProperty("exact").GetBoolean());
        var recorded = blame.GetProperty("writes").EnumerateArray()
            .Select(w => (w.GetProperty("lsn").GetInt64(), w.GetProperty("offset").GetInt64()));
        var expected = Enumerable.Range(1, count).Where(i => !lost.Contains(i)).Select(i => ((long)i, i * Block));
        Assert.Equal(expected, recorded.Order());
    }

    private static void AssertAllDirty(Ledger ledger)
    {
        var changed = ledger.Json("changed", "v", "--from", "start");
        Assert.False(changed.GetProperty("exact").GetBoolean());
        Assert.Equal([(0, 64L << 20)], Extents.Of(changed));
        Assert.Equal(JsonValueKind.Object, Assert.Single(changed.GetProperty("gaps").EnumerateArray()).ValueKind);
        var map = Tool.Run("nbdinfo", "--map=qemu:dirty-bitmap:b0", "--json", ledger.Export("v")).Expect().Output;
        Assert.Equal([(0, 64L << 20)], Extents.DirtyOf(map));
    }
}
