using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Nodes;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>NBD server and block exports over QMP: the same commands to QEMU and to BitmapLedger, and the same clients.</summary>
public sealed class QmpExportTests : IClassFixture<SharedLedger>, IDisposable
{
    private const int Size = 4 << 20;
    private const string Done = """{"return": {}}""";

    private readonly ScratchDirectory _scratch = new();
    private readonly Ledger _ledger;
    private readonly QemuStorageDaemon _qemu;
    private readonly QmpLines _theirs;
    private QmpLines _ours;

    public QmpExportTests(SharedLedger shared)
    {
        _ledger = shared.Empty();
        _qemu = new(_scratch["q"], Size);
        _theirs = new(_qemu.SecondSocket);
        foreach (var node in new[] { "v", "w", "fixed" })
        {
            var readOnly = node == "fixed";
            var file = _scratch[node + ".img"];
            using (var image = File.Create(file))
                image.SetLength(Size);
            _theirs.Execute($$$"""
                {"execute":"blockdev-add","arguments":{"driver":"raw","node-name":"{{{node}}}","read-only":{{{(readOnly ? "true" : "false")}}},
                 "file":{"driver":"file","filename":"{{{file}}}"} } }
                """.ReplaceLineEndings(" "));
            if (!readOnly)
            {
                _ledger.Json("volume", "create", node, "--size", $"{Size}");
                continue;
            }

            var ours = _scratch["ours.img"];
            File.Copy(file, ours);
            _ledger.Json("volume", "add", node, "--backend", $"file:{ours}", "--read-only");
        }

        _ours = Connect();
    }

    private string OurSocket => _scratch["o.sock"];

    private string TheirSocket => _scratch["t.sock"];

    public void Dispose()
    {
        // Refused where the test has stopped it; a volume that an export offers could not be removed.
        Ours(Line("nbd-server-stop"));
        _ours.Dispose();
        _theirs.Dispose();
        _qemu.Dispose();
        _scratch.Dispose();
    }

    [Fact]
    public void Exports_are_added_refused_and_ended_in_qemus_words()
    {
        string[] lines =
        [
            Line("query-block-exports"),
            Line("nbd-server-stop"),
            Export("e0", "v"),
            Export("0e", "nope"),
            Export("e0", "nope"),
            Export("e0", "fixed", "\"writable\":true"),
            Line("nbd-server-start", """ "addr":{"type":"unix","data":{"path":"SOCKET"}},"tls-creds":"t" """),
            Line("nbd-server-start", """ "addr":{"type":"inet","data":{"host":"127.0.0.1","port":"abc"}} """),
            Start,
            Start,
            Bitmap("add", "b0"),
            Bitmap("add", "b1", ",\"disabled\":true"),
            Export("e0", "v", "\"bitmaps\":[\"nope\"]"),
            Export("e0", "v", "\"bitmaps\":[\"b0\"]"),
            Export("e0", "v", """ "bitmaps":[{"node":"v","name":"b0"},{"node":"zz","name":"b0"}] """),
            Export("e0", "v", """ "bitmaps":[{"node":"v","name":"zz"}] """),
            Export("e0", "v", """ "name":"x","writable":true,"bitmaps":["b0","b1","b0"],"description":"d" """),
            Export("e0", "v"),
            Export("e0", "nope"),
            Export("e1", "v", "\"name\":\"x\""),
            Export("e1", "v", "\"name\":\"y\",\"bitmaps\":[\"b1\"]"),
            Export("e1", "v", $"\"name\":\"{new string('y', 4097)}\""),
            Export("e1", "v", $"\"name\":\"y\",\"description\":\"{new string('y', 4097)}\""),
            Export("e1", "v", "\"name\":\"y\",\"iothread\":\"i\""),
            Export("e1", "v", "\"name\":\"y\",\"zz\":1"),
            Export("e2", "w", "\"name\":\"\",\"writable\":true,\"writethrough\":true"),
            Export("e3", "fixed"),
            Line("query-block-exports"),
            .. new[] { "remove", "clear", "enable", "disable" }.Select(c => Bitmap(c, "b0")),
            Line("block-dirty-bitmap-merge", """ "node":"v","target":"b0","bitmaps":["b1"] """),
            Bitmap("add", "b7"),
            Line("block-dirty-bitmap-merge", """ "node":"v","target":"b7","bitmaps":["b1"] """),
            Line("transaction", """
                "actions":[{"type":"block-dirty-bitmap-clear","data":{"node":"v","name":"b7"}},
                {"type":"block-dirty-bitmap-clear","data":{"node":"v","name":"b1"}}]
                """.ReplaceLineEndings(" ")),
            Bitmap("add", "b0"),
            Line("block_resize", """ "node-name":"v","size":8388608 """),
            Line("block-export-del", "\"id\":\"nope\""),
            Line("block-export-del", "\"id\":\"e2\",\"mode\":\"soft\""),
            Line("block-export-del", "\"id\":\"e2\""),
            Line("query-block-exports"),
            Line("nbd-server-stop"),
            Line("query-block-exports"),
            Bitmap("clear", "b0"),
            Bitmap("remove", "b1"),
            Line("block_resize", """ "node-name":"v","size":8388608 """),
            Start,
            Export("e0", "v", "\"writable\":true,\"bitmaps\":[\"b0\"]"),
            Line("nbd-server-stop"),
        ];

        foreach (var line in lines)
            AssertAlike(line);
        Assert.Equal(Ended(_theirs, 4), Ended(_ours, 4));
        Assert.False(File.Exists(OurSocket));
    }

    [Fact]
    public void Iotest_223_shows_the_chosen_bitmaps_as_qemu_does()
    {
        AssertAlike(Start);
        AssertAlike(Export("w", "v", "\"name\":\"w\",\"writable\":true"));
        AssertBoth(s => Write(s, "w", (1 << 20, 2 << 20, 0x11)));
        AssertAlike(Bitmap("add", "b", ",\"granularity\":65536"));
        AssertAlike(Bitmap("add", "b2", ",\"granularity\":512"));
        AssertBoth(s => Write(s, "w", (512, 512, 0x22), (2 << 20, 2 << 20, 0x33)));
        AssertAlike(Bitmap("disable", "b"));
        AssertAlike(Line("block-dirty-bitmap-add", """ "node":"w","name":"b3" """));

        AssertAlike(Export("e1", "v", "\"name\":\"n\",\"bitmaps\":[\"b\"],\"description\":\"words\",\"allocation-depth\":true"));
        AssertAlike(Export("e2", "v", "\"name\":\"n2\",\"writable\":true,\"bitmaps\":[\"b2\"]"));
        AssertAlike(Export("e3", "v", "\"name\":\"n3\",\"bitmaps\":[{\"node\":\"w\",\"name\":\"b3\"}]"));

        Assert.Equal("0+65536 2097152+2097152", string.Join(' ', Extents.DirtyOf(Map(OurSocket, "n", "b")).Select(e => $"{e.Offset}+{e.Length}")));
        Assert.Equal("512+512 2097152+2097152", string.Join(' ', Extents.DirtyOf(Map(OurSocket, "n2", "b2")).Select(e => $"{e.Offset}+{e.Length}")));
        AssertBoth(s => Map(s, "n", "b"));
        AssertBoth(s => Map(s, "n2", "b2"));
        AssertBoth(s => Map(s, "n3", "b3"));
        // Ranges that begin and end inside a granule, and at the end of the disk.
        foreach (var (offset, length) in new[] { (12345, 12345), (0, 1), (65_535, 2), (Size - 777, 777), (2_097_100, 999_999) })
        {
            AssertBoth(s => Status(s, "n", "b", offset, length));
            AssertBoth(s => Status(s, "n2", "b2", offset, length));
        }

        AssertBoth(s => Info(s, "n", "--map=qemu:allocation-depth"));
        AssertBoth(s => Shown(Info(s, "", "--list")));
        AssertBoth(s => Tool.Run("nbdinfo", "--map=qemu:dirty-bitmap:b2", $"nbd+unix:///n?socket={s}").ExitCode);
        // What comes in through an export is recorded like everything else.
        AssertBoth(s => Write(s, "n2", (1 << 20, 4096, 0x44)));
        AssertBoth(s => Write(s, "n", (1 << 20, 4096, 0x44)) != 0);
        AssertBoth(s => Map(s, "n2", "b2"));
        foreach (var name in new[] { "b", "b2" })
            AssertAlike(Line("x-debug-block-dirty-bitmap-sha256", $""" "node":"v","name":"{name}" """));
        Assert.Equal(Bitmaps(_theirs), Bitmaps(_ours));
        Assert.Equal(4, _ledger.Json("changed", "v", "--from", "start").GetProperty("to").GetProperty("lsn").GetInt64());
        AssertAlike(Line("nbd-server-stop"));
        Assert.Equal(Bitmaps(_theirs), Bitmaps(_ours));
        Assert.DoesNotContain("\"busy\":true", Bitmaps(_ours), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_export_that_is_used_ends_only_by_force_and_the_next_client_waits_for_its_place()
    {
        AssertAlike(Line("nbd-server-start", """ "addr":{"type":"unix","data":{"path":"SOCKET"}},"max-connections":1 """));
        AssertAlike(Export("e0", "v", "\"name\":\"x\",\"writable\":true"));
        using var ours = new NbdWriter(OurSocket, "x");
        using var theirs = new NbdWriter(TheirSocket, "x");
        AssertAlike(Export("e1", "v", "\"name\":\"y\",\"writable\":true"));
        var next = Task.Factory.StartNew(
            () => new NbdWriter(OurSocket, "y"), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        Assert.Equal((0u, 0u), (ours.Write(0, 512, 1), theirs.Write(0, 512, 1)));

        AssertAlike(Line("block-export-del", "\"id\":\"e0\""));
        Assert.False(next.IsCompleted);
        AssertAlike(Line("block-export-del", "\"id\":\"e0\",\"mode\":\"hard\""));

        Assert.Equal(Ended(_theirs, 1), Ended(_ours, 1));
        Assert.True(Record.Exception(() => ours.Write(0, 512, 1)) is IOException or SocketException);
        using var second = await next;
        Assert.Equal(0u, second.Write(0, 512, 1));
        AssertAlike(Line("query-block-exports"));
    }

    [Fact]
    public void Iotest_165_a_disk_that_is_open_for_reading_keeps_its_bits_until_it_is_open_for_writing_again()
    {
        var digest = Line("x-debug-block-dirty-bitmap-sha256", """ "node":"v","name":"bitmap0" """);
        AssertAlike(Start);
        AssertAlike(Bitmap("add", "bitmap0"));
        AssertAlike(Export("rw", "v", "\"writable\":true"));
        AssertBoth(s => Write(s, "v", (0x0fff00, 0x10000, 1), (0x200000, 0x100000, 1)));
        AssertAlike(Line("block-export-del", """ "id":"rw","mode":"hard" """));
        var before = Ours(digest);
        AssertAlike(digest);

        AssertAlike(Export("ro", "v"));
        AssertBoth(s => Write(s, "v", (0x300000, 0x20000, 2)) != 0);
        Assert.Equal(before, Ours(digest));
        AssertAlike(digest);
        AssertAlike(Line("block-export-del", """ "id":"ro","mode":"hard" """));
        AssertAlike(Export("rw", "v", "\"writable\":true"));
        AssertBoth(s => Write(s, "v", (0x300000, 0x20000, 2), (0x3f0000, 0x10000, 2)));

        AssertAlike(digest);
        Assert.NotEqual(before, Ours(digest));
    }

    // A client that takes no replies would have to be waited for.
    [Fact]
    public void An_export_ends_by_force_at_once_whatever_its_clients_do()
    {
        Assert.Equal(Done, Ours(Start));
        Assert.Equal(Done, Ours(Export("e0", "v", """ "name":"x","writable":true """)));
        Assert.Equal(Done, Ours(Export("e1", "v", """ "name":"y","writable":true """)));
        using var deafOnX = new NbdWriter(OurSocket, "x");
        using var deafOnY = new NbdWriter(OurSocket, "y");
        deafOnX.AskWithoutReading(reads: 64, length: 1 << 20);
        deafOnY.AskWithoutReading(reads: 64, length: 1 << 20);

        var started = Stopwatch.StartNew();
        Assert.Equal(Done, Ours(Line("block-export-del", """ "id":"e0","mode":"hard" """)));
        Assert.Equal(Done, Ours(Line("nbd-server-stop")));

        // Ten seconds is what an orderly end may take.
        Assert.InRange(started.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(9));
        Assert.Equal(Done, Ours(Line("block_resize", """ "node-name":"v","size":8388608 """)));
    }

    [Fact]
    public void A_bitmap_that_an_export_shows_is_in_use_wherever_it_is_listed()
    {
        Assert.Equal(Done, Ours(Start));
        _ledger.Json("bitmap", "add", "v", "b0");
        _ledger.Json("bitmap", "add", "v", "b1");
        Assert.Equal("b1 False, b0 False", Listed());

        Assert.Equal(Done, Ours(Export("e0", "v", """ "writable":true,"bitmaps":["b0"] """)));

        Assert.Equal("b1 False, b0 True", Listed());
        Assert.True(_ledger.Json("bitmap", "show", "v", "b0").GetProperty("busy").GetBoolean());
        Assert.False(_ledger.Json("bitmap", "show", "v", "b1").GetProperty("busy").GetBoolean());
        Assert.Equal("b1 False, b0 True", Show(_ledger.Json("volume", "show", "v")));
        Assert.Equal(Done, Ours(Line("block-export-del", """ "id":"e0" """)));
        Assert.Equal("b1 False, b0 False", Listed());

        string Listed() => Show(_ledger.Json("bitmap", "list", "v"));

        static string Show(JsonElement answer) => string.Join(", ", answer.GetProperty("bitmaps").EnumerateArray()
            .Select(b => $"{b.GetProperty("name")} {b.GetProperty("busy").GetBoolean()}"));
    }

    [Fact]
    public async Task Exports_outlive_the_server_and_end_with_the_agent()
    {
        Assert.Equal(Done, Ours(Start));
        Assert.Equal(Done, Ours(Bitmap("add", "b0", ",\"persistent\":true")));
        Assert.Equal(Done, Ours(Export("e0", "v", "\"name\":\"x\",\"writable\":true,\"bitmaps\":[\"b0\"]")));
        using var client = new NbdWriter(OurSocket, "x");

        var killed = _ledger.Pid("server");
        _ledger.Kill("server");
        while (Posix.IsAlive(killed))
            await Task.Delay(10);
        await _ledger.AnswersAsync("volume", "list");
        _ours.Dispose();
        _ours = Connect();
        Assert.Equal(0u, client.Write(0, 512, 1));
        Assert.Equal("e0", (string?)_ours.Execute(Line("query-block-exports"))![0]!["id"]);
        Assert.Contains("currently in use", Ours(Bitmap("clear", "b0")), StringComparison.Ordinal);
        var refused = _ledger.Bml("bitmap", "clear", "v", "b0");
        Assert.Contains("Bitmap 'b0' is currently in use by another operation and cannot be used", refused.Error, StringComparison.Ordinal);
        Assert.Contains("block export", _ledger.Bml("volume", "remove", "v").Error, StringComparison.Ordinal);

        _ledger.Kill("agent");
        await _ledger.AnswersAsync("bitmap", "clear", "v", "b0");
        Assert.Empty(_ours.Execute(Line("query-block-exports"))!.AsArray());
        Assert.Equal(Done, Ours(Start));
    }

    private static string Start => Line("nbd-server-start", """ "addr":{"type":"unix","data":{"path":"SOCKET"}} """);

    private static string Line(string command, string arguments = "") =>
        $$"""{"execute":"{{command}}","arguments":{ {{arguments}} } }""";

    private static string Export(string id, string node, string more = "") => Line(
        "block-export-add", $"""  "id":"{id}","type":"nbd","node-name":"{node}"{(more.Length > 0 ? "," : "")}{more} """);

    private static string Bitmap(string what, string name, string more = "") =>
        Line($"block-dirty-bitmap-{what}", $""" "node":"v","name":"{name}"{more} """);

    private QmpLines Connect() => new(Path.Combine(_ledger.DataDirectory, "run", "qmp.sock"));

    private string Ours(string line) => _ours.Ask(line.Replace("SOCKET", OurSocket, StringComparison.Ordinal))[0];

    private void AssertAlike(string line)
    {
        var theirs = _theirs.Ask(line.Replace("SOCKET", TheirSocket, StringComparison.Ordinal))[0];
        Assert.Equal($"{line}\n{theirs}", $"{line}\n{Ours(line)}");
    }

    private void AssertBoth<T>(Func<string, T> ask) => Assert.Equal(ask(TheirSocket), ask(OurSocket));

    /// <summary>Ids of exports that ended, however a server orders those that end together.</summary>
    private static string[] Ended(QmpLines server, int count) =>
        [.. Enumerable.Range(0, count).Select(_ => (string)server.Await("BLOCK_EXPORT_DELETED")["data"]!["id"]!).Order(StringComparer.Ordinal)];

    private static uint Write(string socket, string export, params IEnumerable<(int Offset, int Length, int Value)> writes)
    {
        using var disk = new NbdWriter(socket, export);
        return writes.Aggregate(0u, (failed, w) => failed | disk.Write(w.Offset, w.Length, (byte)w.Value));
    }

    private static string Map(string socket, string export, string bitmap) =>
        Info(socket, export, $"--map=qemu:dirty-bitmap:{bitmap}");

    /// <summary>Extents of a range, cut off where it ends: a server may say more of the last one.</summary>
    private static string Status(string socket, string export, string bitmap, long offset, long length) => Tool.Run(
        "nbdsh", "-c", $"h.add_meta_context('qemu:dirty-bitmap:{bitmap}')", "-c", $"h.connect_uri('nbd+unix:///{export}?socket={socket}')",
        "-c", $$"""
            left, shown = {{length}}, []
            def extents(context, offset, entries, error):
                global left
                for bytes, flags in zip(entries[::2], entries[1::2]):
                    shown.append((min(bytes, left), flags))
                    left -= min(bytes, left)
            while left > 0:
                h.block_status(left, {{offset}} + {{length}} - left, extents)
            print(shown)
            """).Expect().Output;

    private static string Info(string socket, string export, string option) =>
        Tool.Run("nbdinfo", "--json", option, $"nbd+unix:///{export}?socket={socket}").Expect().Output;

    /// <summary>What a server says of each export; ours takes many clients wherever one flush covers them all.</summary>
    private static string Shown(string list) => string.Join('\n', JsonNode.Parse(list)!["exports"]!.AsArray().Select(
        e => $"{e!["export-name"]} {e["description"]} {e["is_read_only"]} {e["export-size"]} {e["contexts"]!.ToJsonString()}"));

    private static string Bitmaps(QmpLines server) => server.Execute(Line("query-named-block-nodes"))!.AsArray()
        .Single(n => (string?)n!["node-name"] == "v")!["dirty-bitmaps"]!.ToJsonString();
}
