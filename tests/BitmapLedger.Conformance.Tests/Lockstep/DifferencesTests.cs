using System.Net.Sockets;
using System.Text.Json.Nodes;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests.Lockstep;

/// <summary>Every difference in <c>qmp-differences.txt</c> is one: it is made to show, on both sides.</summary>
public sealed class DifferencesTests(SharedLedger shared) : IClassFixture<SharedLedger>, IDisposable
{
    private readonly Differences _differences = new();
    private readonly ScratchDirectory _scratch = new();
    private readonly Ledger _ledger = shared.Empty();

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public void What_is_said_to_be_answered_differently_is_answered_as_it_is_said()
    {
        List<string> wrong = [];
        foreach (var (answer, number) in _differences.Answers.Select((a, i) => (a, i)))
        {
            using var sides = new Sides(shared.Empty(), _scratch[$"{number}"]);
            wrong.AddRange(answer.Both.Select(r => (Request: r, Replies: sides.Ask(r))).Where(a => a.Replies.Theirs != a.Replies.Ours)
                .Select(a => $"{a.Request}\n  qemu {a.Replies.Theirs}\n  here {a.Replies.Ours}"));
            var (theirs, ours) = sides.Ask(answer.Ask);
            if (theirs == ours || theirs != answer.Qemu || ours != answer.Here)
                wrong.Add($"differs {answer.Why}\n  ask {answer.Ask}\n  qemu {theirs}\n  here {ours}");
        }

        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
    }

    [Fact]
    public void What_is_not_compared_of_a_node_differs()
    {
        using var sides = new Sides(_ledger, _scratch["nodes"]);
        var (theirs, ours) = sides.Ask("""{"execute":"query-named-block-nodes"}""");
        var (their, our) = (Node(theirs), Node(ours));

        Assert.All(_differences.NodePaths, p => Assert.NotEqual(Differences.Member(their, p), Differences.Member(our, p)));
        Assert.Equal(_differences.Comparable(their).ToJsonString(), _differences.Comparable(our).ToJsonString());

        static JsonNode Node(string reply) =>
            JsonNode.Parse(reply)!["return"]!.AsArray().Single(n => (string?)n!["node-name"] == "A")!;
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void A_writable_export_says_of_itself_what_qemus_says_but_for_what_is_listed(int connections)
    {
        using var sides = new Sides(_ledger, _scratch["export"]);
        sides.Alike($$$"""
            {"execute":"nbd-server-start","arguments":{"addr":{"type":"unix","data":{"path":"DIR/n.sock"}},"max-connections":{{{connections}}} } }
            """);
        sides.Alike("""{"execute":"block-export-add","arguments":{"type":"nbd","id":"e","node-name":"A","writable":true}}""");

        var (their, our) = (Export(sides.TheirDirectory), Export(sides.OurDirectory));

        Assert.Equal(
            connections == 1 ? _differences.ExportMembers : [],
            our.Select(m => m.Key).Union(their.Select(m => m.Key)).Where(m => their[m]?.ToJsonString() != our[m]?.ToJsonString()).Except(["uri"]));

        static JsonObject Export(string directory) => JsonNode.Parse(
            Tool.Run("nbdinfo", "--json", $"nbd+unix:///A?socket={directory}/n.sock").Expect().Output)!["exports"]![0]!.AsObject();
    }

    /// <summary>A QEMU of its own and a ledger, with nodes of the same names.</summary>
    private sealed class Sides : IDisposable
    {
        private readonly QemuStorageDaemon _qemu;
        private readonly QmpLines _theirs;
        private readonly QmpLines _ours;

        public Sides(Ledger ledger, string directory)
        {
            TheirDirectory = Directory.CreateDirectory(Path.Combine(directory, "q")).FullName;
            OurDirectory = Directory.CreateDirectory(Path.Combine(directory, "o")).FullName;
            _qemu = new(TheirDirectory, 1 << 20);
            _theirs = new(_qemu.SecondSocket);
            foreach (var (node, size) in new[] { ("A", 1 << 20), ("B", 2 << 20) })
            {
                ledger.Json("volume", "create", node, "--size", $"{size}");
                var file = Path.Combine(TheirDirectory, node + ".img");
                using (var image = File.Create(file))
                    image.SetLength(size);
                _theirs.Execute($$$"""
                    {"execute":"blockdev-add","arguments":{"driver":"raw","node-name":"{{{node}}}","file":{"driver":"file","filename":"{{{file}}}"} } }
                    """);
            }

            _ours = new(Path.Combine(ledger.DataDirectory, "run", "qmp.sock"));
        }

        public string TheirDirectory { get; }

        public string OurDirectory { get; }

        /// <summary>The replies of both; what dies says so.</summary>
        public (string Theirs, string Ours) Ask(string request) => (Ask(_theirs, request, TheirDirectory), Ask(_ours, request, OurDirectory));

        public void Alike(string request)
        {
            var (theirs, ours) = Ask(request);
            Assert.Equal(theirs, ours);
        }

        public void Dispose()
        {
            _ours.Ask("""{"execute":"nbd-server-stop"}""");
            _ours.Dispose();
            _theirs.Dispose();
            _qemu.Dispose();
        }

        private static string Ask(QmpLines side, string request, string directory)
        {
            try
            {
                return side.Ask(request.Replace("DIR", directory, StringComparison.Ordinal))[0].Replace(directory, "DIR", StringComparison.Ordinal);
            }
            catch (Exception gone) when (gone is IOException or SocketException)
            {
                return "dies";
            }
        }
    }
}
