using System.Globalization;
using System.Text.Json.Nodes;
using BitmapLedger.Qmp.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>A written-down session over QMP, played to QEMU and to BitmapLedger: both say what stands there.</summary>
public sealed class TranscriptTests : IAsyncLifetime
{
    private const long Size = 8 << 20;
    private static readonly string[] _drives = ["drive0", "drive1"];

    private Ledger _ledger = null!;
    private QemuStorageDaemon? _qemu;
    private QmpLines? _ours;
    private QmpLines? _theirs;

    public async ValueTask InitializeAsync()
    {
        _ledger = await Ledger.StartAsync();
        foreach (var drive in _drives)
        {
            _ledger.Json("volume", "create", drive, "--size", $"{Size}");
            // Only an image with room for bitmaps keeps them.
            Tool.Run("qemu-img", "create", "-q", "-f", "qcow2", Image(drive), $"{Size}").Expect();
        }

        StartQemu();
        _ours = new(Path.Combine(_ledger.DataDirectory, "run", "qmp.sock"));
    }

    public async ValueTask DisposeAsync()
    {
        _ours?.Dispose();
        _theirs?.Dispose();
        _qemu?.Dispose();
        await _ledger.DisposeAsync();
    }

    [Theory]
    [InlineData("bitmaps.txt")]
    public async Task Qemu_and_we_say_what_the_transcript_says(string name)
    {
        var lines = File.ReadAllLines(
            Path.Combine(Repository.Root, "tests", "BitmapLedger.Conformance.Tests", "Transcripts", name));
        for (var i = 0; i < lines.Length; i++)
        {
            var at = $"{name}:{i + 1}";
            switch (lines[i].Split(' ', StringSplitOptions.RemoveEmptyEntries))
            {
                case [] or ["#", ..]:
                    break;
                case ["->", ..]:
                    AssertBoth(at, lines[++i][3..], qmp => qmp.Ask(lines[i - 1][3..])[0]);
                    break;
                case ["write", var drive, var offset, var length]:
                    AssertBoth(at, "", Write(drive, Number(offset), (int)Number(length)));
                    break;
                case ["bitmaps", var drive]:
                    List<string> shown = [];
                    while (i + 1 < lines.Length && lines[i + 1].StartsWith('{'))
                        shown.Add(lines[++i]);
                    i += shown.Count == 0 && lines[i + 1] == "none" ? 1 : 0;
                    AssertBoth(at, string.Join('\n', shown), qmp => Bitmaps(qmp, drive));
                    break;
                case ["restart"]:
                    await RestartAsync();
                    break;
                default:
                    Assert.Fail($"{at}: '{lines[i]}' is no line of a transcript");
                    break;
            }
        }
    }

    private void AssertBoth(string at, string expected, Func<QmpLines, string> ask)
    {
        foreach (var (who, qmp) in new[] { ("QEMU", _theirs!), ("we", _ours!) })
            Assert.Equal($"{at} {who}: {expected}", $"{at} {who}: {ask(qmp)}");
    }

    /// <summary>A guest that comes, writes and goes, so that the disk may have another size the next time.</summary>
    private Func<QmpLines, string> Write(string drive, long offset, int length) => qmp =>
    {
        if (qmp == _ours)
            return Send(_ledger.NbdSocket);
        qmp.Execute($$$"""{"execute":"block-export-add","arguments":{"id":"x","type":"nbd","node-name":"{{{drive}}}","writable":true}}""");
        var said = Send(TheirSocket);
        qmp.Execute("""{"execute":"block-export-del","arguments":{"id":"x","mode":"hard"}}""");
        qmp.Await("BLOCK_EXPORT_DELETED");
        return said;

        string Send(string socket)
        {
            using var disk = new NbdWriter(socket, drive);
            return disk.Write(offset, length, 1) is var error && error == 0 ? "" : $"error {error}";
        }
    };

    private static string Bitmaps(QmpLines qmp, string drive) => string.Join('\n', (qmp.Execute(
        """{"execute":"query-named-block-nodes"}""")!.AsArray().Single(n => (string?)n!["node-name"] == drive)!["dirty-bitmaps"] as JsonArray ?? [])
        .Select(b => WireText.Write(b!.AsObject())));

    private async Task RestartAsync()
    {
        _ours!.Dispose();
        Assert.Equal(0, await _ledger.StopAsync());
        await _ledger.ServeAsync();
        _ours = new(Path.Combine(_ledger.DataDirectory, "run", "qmp.sock"));
        _theirs!.Dispose();
        _qemu!.Quit();
        _qemu.Dispose();
        StartQemu();
    }

    private void StartQemu()
    {
        var directory = _ledger.Scratch("q");
        _qemu = new(directory, Size);
        _theirs = new(_qemu.SecondSocket);
        foreach (var drive in _drives)
        {
            _theirs.Execute($$$"""
                {"execute":"blockdev-add","arguments":{"driver":"qcow2","node-name":"{{{drive}}}",
                 "file":{"driver":"file","filename":"{{{Image(drive)}}}"} } }
                """.ReplaceLineEndings(" "));
        }

        _theirs.Execute($$$"""
            {"execute":"nbd-server-start","arguments":{"addr":{"type":"unix","data":{"path":"{{{TheirSocket}}}"} } } }
            """);
    }

    private string TheirSocket => _ledger.Scratch("t.sock");

    private string Image(string drive) => _ledger.Scratch(drive + ".qcow2");

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);
}
