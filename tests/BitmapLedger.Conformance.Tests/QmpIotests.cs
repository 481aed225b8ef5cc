using System.Text.Json.Nodes;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>QEMU's own tests of dirty bitmaps, run over QMP against BitmapLedger: same steps, same numbers.</summary>
public sealed class QmpIotests
{
    private const int Granule = 64 << 10;

    [Fact]
    public async Task Iotest_236_merges_and_aborted_transactions()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "drive0", "--size", "64M");
        using var qmp = Connect(ledger);
        using var disk = new NbdWriter(ledger.NbdSocket, "drive0");
        Do(qmp, "block-dirty-bitmap-add", "bitmapA");
        Do(qmp, "block-dirty-bitmap-add", "bitmapB");
        foreach (var offset in new[] { 0, 1 << 20, 32 << 20, 0x3ff0000 })
            Assert.Equal(0u, disk.Write(offset, Granule, 0x5d));

        Assert.Equal(("bitmapB 262144 True,bitmapA 262144 True"), Shown(qmp));
        Assert.Equal("3b7b88c192165a0a4640a3c1ef9226de9a5eb4530922c421157fb01ea35cb70a", Digest(qmp, "bitmapA"));
        var before = Shown(qmp);
        Assert.Equal(
            """{"error": {"class": "GenericError", "desc": "Transaction aborted using Abort action"}}""",
            Transact(qmp, Act("disable", "bitmapB"), Act("add", "bitmapC"), Act("clear", "bitmapA"), Abort));
        Assert.Equal(before, Shown(qmp));
        Assert.Equal(
            """{"return": {}}""",
            Transact(qmp, Act("disable", "bitmapB"), Act("add", "bitmapC"), Act("disable", "bitmapC"), Act("enable", "bitmapC")));

        foreach (var offset in new[] { 0, 0xf8000, 0x2008000, 0x3fe0000 })
            Assert.Equal(0u, disk.Write(offset, Granule, 0xab));
        Transact(qmp, Act("disable", "bitmapA"), Act("disable", "bitmapC"));
        Assert.Equal("bitmapC 393216 False,bitmapB 262144 False,bitmapA 458752 False", Shown(qmp));
        Assert.Equal("0fe44ee8099aee1ec60ac068ecd0b1f16452fd202ae8c9d96cf640ca6ce1b918", Digest(qmp, "bitmapC"));

        string[] merge = [Act("add", "bitmapD", ",\"disabled\":true"), Merge("bitmapD", "bitmapB", "bitmapC")];
        Transact(qmp, [.. merge, Abort]);
        Assert.DoesNotContain("bitmapD", Shown(qmp), StringComparison.Ordinal);
        Transact(qmp, merge);
        Assert.Equal("bitmapD 458752 False,bitmapC 393216 False,bitmapB 262144 False,bitmapA 458752 False", Shown(qmp));
        Assert.Equal("7abe3d7e3c794cfaf9b08bc9ce599192c96a2206f07b42d9997ff78fdd7af744", Digest(qmp, "bitmapD"));
        Assert.Equal(Digest(qmp, "bitmapA"), Digest(qmp, "bitmapD"));
        foreach (var name in new[] { "bitmapA", "bitmapB", "bitmapC", "bitmapD" })
            Do(qmp, "block-dirty-bitmap-remove", name);
        Assert.Equal("", Shown(qmp));
    }

    [Fact]
    public async Task Iotest_246_persistent_bitmaps_across_grow_shrink_and_restarts()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "drive0", "--size", "64G");
        using (var qmp = Connect(ledger))
        {
            Do(qmp, "block-dirty-bitmap-add", "Small", ",\"persistent\":true,\"granularity\":32768");
            Do(qmp, "block-dirty-bitmap-add", "Medium", ",\"persistent\":true");
            Do(qmp, "block-dirty-bitmap-add", "Large", ",\"persistent\":true,\"granularity\":131072");
            Do(qmp, "block-dirty-bitmap-add", "Transient");
            Assert.Equal("Transient 0 True,Large 0 True,Medium 0 True,Small 0 True", Shown(qmp));
        }

        await RestartAsync(ledger);
        using (var qmp = Connect(ledger))
        {
            Assert.Equal("Small,Medium,Large", Names(qmp));
            Do(qmp, "block-dirty-bitmap-add", "New", ",\"persistent\":true");
            Resize(qmp, 70L << 30);
            Do(qmp, "block-dirty-bitmap-add", "Newtwo", ",\"persistent\":true");
            Assert.Equal("Newtwo,New,Small,Medium,Large", Names(qmp));
            using var grown = new NbdWriter(ledger.NbdSocket, "drive0");
            Assert.Equal(70L << 30, grown.Size);
            Assert.Equal(0u, grown.Write(69L << 30, 4096, 1));
            Assert.Contains("Large 131072 True", Shown(qmp), StringComparison.Ordinal);
        }

        await RestartAsync(ledger);
        using (var qmp = Connect(ledger))
        {
            Assert.Equal("New,Newtwo,Small,Medium,Large", Names(qmp));
            Do(qmp, "block-dirty-bitmap-add", "NewB", ",\"persistent\":true");
            Do(qmp, "block-dirty-bitmap-remove", "New");
            Resize(qmp, 50L << 30);
            Do(qmp, "block-dirty-bitmap-add", "NewC", ",\"persistent\":true");
            Do(qmp, "block-dirty-bitmap-remove", "Newtwo");
        }

        await RestartAsync(ledger);
        using (var qmp = Connect(ledger))
        {
            Assert.Equal("NewB 0 True,NewC 0 True,Small 0 True,Medium 0 True,Large 0 True", Shown(qmp));
            foreach (var name in Names(qmp).Split(','))
                Do(qmp, "block-dirty-bitmap-remove", name);
            Assert.Equal("", Shown(qmp));
        }
    }

    [Fact]
    public async Task Iotest_165_a_persistent_bitmap_keeps_its_bits_over_restarts()
    {
        const string first = "e01e9ab77edfd18c43a1f2c2508ab75ac4c445bcf4f3681062b008d2e091fc7d";
        const string both = "625473840bfc0faf0f43256cacfaf2c3b30c312e68ae5828e05325c775e00b7d";
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "drive0", "--size", "1G");
        using (var qmp = Connect(ledger))
        {
            Do(qmp, "block-dirty-bitmap-add", "bitmap0", ",\"persistent\":true");
            Write(ledger, (0x0fff00, 0x10000), (0x200000, 0x100000));
            Assert.Equal(first, Digest(qmp, "bitmap0"));
        }

        await RestartAsync(ledger);
        using (var qmp = Connect(ledger))
        {
            Assert.Equal(first, Digest(qmp, "bitmap0"));
            Write(ledger, (0x10000000, 0x20000), (0x3fff0000, 0x10000));
            Assert.Equal(both, Digest(qmp, "bitmap0"));
        }

        await RestartAsync(ledger);
        using (var qmp = Connect(ledger))
            Assert.Equal(both, Digest(qmp, "bitmap0"));
    }

    [Fact]
    public async Task Iotest_304_the_tail_of_a_volume_that_ends_inside_a_granule()
    {
        await using var ledger = await Ledger.StartAsync();
        // 4,097 bytes, as QEMU rounds them.
        ledger.Json("volume", "create", "drive0", "--size", "4608");
        using var qmp = Connect(ledger);
        Do(qmp, "block-dirty-bitmap-add", "bitmap0", ",\"granularity\":4096");

        Write(ledger, (0, 4096), (4096, 1));

        Assert.Equal("bitmap0 8192 True", Shown(qmp));
    }

    private const string Abort = """{"type":"abort","data":{}}""";

    private static QmpLines Connect(Ledger ledger) => new(Path.Combine(ledger.DataDirectory, "run", "qmp.sock"));

    private static async Task RestartAsync(Ledger ledger)
    {
        Assert.Equal(0, await ledger.StopAsync());
        await ledger.ServeAsync();
    }

    private static void Do(QmpLines qmp, string command, string name, string more = "") => Assert.Equal(
        """{"return": {}}""",
        qmp.Ask($$$"""{"execute":"{{{command}}}","arguments":{"node":"drive0","name":"{{{name}}}"{{{more}}}}}""")[0]);

    private static void Resize(QmpLines qmp, long size) => Assert.Equal(
        """{"return": {}}""",
        qmp.Ask($$$"""{"execute":"block_resize","arguments":{"node-name":"drive0","size":{{{size}}}}}""")[0]);

    private static string Act(string verb, string name, string more = "") =>
        $$$"""{"type":"block-dirty-bitmap-{{{verb}}}","data":{"node":"drive0","name":"{{{name}}}"{{{more}}}}}""";

    private static string Merge(string target, params IEnumerable<string> sources) =>
        $$$"""{"type":"block-dirty-bitmap-merge","data":{"node":"drive0","target":"{{{target}}}","bitmaps":[{{{Quoted(sources)}}}]}}""";

    private static string Quoted(IEnumerable<string> names) => string.Join(',', names.Select(n => $"\"{n}\""));

    private static string Transact(QmpLines qmp, params IEnumerable<string> actions) =>
        qmp.Ask($$$"""{"execute":"transaction","arguments":{"actions":[{{{string.Join(',', actions)}}}]}}""")[0];

    private static string Digest(QmpLines qmp, string name) => (string)qmp.Execute(
        $$$"""{"execute":"x-debug-block-dirty-bitmap-sha256","arguments":{"node":"drive0","name":"{{{name}}}"}}""")!["sha256"]!;

    private static IEnumerable<JsonNode?> Bitmaps(QmpLines qmp) =>
        (qmp.Execute("""{"execute":"query-block"}""")!.AsArray()[0]!["inserted"]!["dirty-bitmaps"] as JsonArray)?.AsEnumerable() ?? [];

    private static string Shown(QmpLines qmp) => string.Join(',', Bitmaps(qmp).Select(b => $"{b!["name"]} {b["count"]} {(bool)b["recording"]!}"));

    private static string Names(QmpLines qmp) => string.Join(',', Bitmaps(qmp).Select(b => (string)b!["name"]!));

    private static void Write(Ledger ledger, params IEnumerable<(long Offset, int Length)> regions)
    {
        using var disk = new NbdWriter(ledger.NbdSocket, "drive0");
        foreach (var (offset, length) in regions)
            Assert.Equal(0u, disk.Write(offset, length, 1));
    }
}
