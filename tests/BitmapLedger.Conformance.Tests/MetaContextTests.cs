using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>The past as NBD clients see it: contexts that name a range, or a bitmap at a point.</summary>
public sealed class MetaContextTests(SharedLedger shared) : IClassFixture<SharedLedger>
{
    private const long MiB = 1 << 20;
    private const long Size = 32 * MiB + 1024;
    private readonly Ledger _ledger = shared.Empty();

    [Fact]
    public void Nbdinfo_maps_a_range_as_changed_answers_it()
    {
        Script("m");

        foreach (var (from, to) in ((string, string?)[])[
            ("lsn:1", "lsn:3"), ("start", "checkpoint:nightly"), ("slice:b0/0", "lsn:4"), ("slice-start:b0/0", "slice:b0/0"),
            ("checkpoint:nightly", "event:9"), ("lsn:5", "lsn:5"), ("lsn:2", "now"), ("checkpoint:nightly", "now"),
            ("slice:b0/0", "now"), ("lsn:4", null), ("start", null), ("now", "now")])
        {
            var range = to is null ? from : $"{from}..{to}";
            var changed = _ledger.Json(["changed", "m", "--from", from, .. to is null ? (string[])[] : ["--to", to]]);

            Assert.Equal(Extents.Of(changed), MetaContexts.Map(_ledger.Export("m"), $"x-bitmapledger:changed:{range}"));
        }
    }

    [Fact]
    public void Nbdinfo_maps_a_bitmap_as_it_was_as_replay_answers_it()
    {
        Script("m");

        foreach (var (bitmap, at) in ((string, string)[])[
            ("b0", "lsn:1"), ("b0", "checkpoint:nightly"), ("fine", "event:8"), ("fine", "lsn:4"), ("b0", "now"), ("fine", "now")])
        {
            var then = _ledger.Json("replay", "m", "--at", at, "--bitmap", bitmap).GetProperty("bitmaps")[0];

            Assert.Equal(Extents.Of(then), MetaContexts.Map(_ledger.Export("m"), $"x-bitmapledger:bitmap:{bitmap}@{at}"));
        }
    }

    [Fact]
    public void Names_with_odd_characters_are_asked_for_as_points_are_written()
    {
        const string bitmap = "a..now/4@x, \"ü\": y", checkpoint = "mon: 1/2, ü";
        _ledger.Json("volume", "create", "odd", "--size", "8M");
        _ledger.Json("bitmap", "add", "odd", bitmap);
        _ledger.Json("retention", "set", "odd", bitmap, "--slices", "2");
        NbdShell.Write(_ledger.Export("odd"), [(0, 4096)]);
        _ledger.Json("checkpoint", "create", "odd", checkpoint);
        _ledger.Json("slice", "bank", "odd", bitmap);
        NbdShell.Write(_ledger.Export("odd"), [(MiB, 4096)]);

        Assert.Equal([(MiB, 65_536)], MetaContexts.Map(_ledger.Export("odd"), $"x-bitmapledger:changed:checkpoint:{checkpoint}..now"));
        Assert.Equal([(MiB, 65_536)], MetaContexts.Map(_ledger.Export("odd"), $"x-bitmapledger:changed:slice:{bitmap}/0..now"));
        Assert.Equal([(0, 65_536)], MetaContexts.Map(_ledger.Export("odd"), $"x-bitmapledger:bitmap:{bitmap}@checkpoint:{checkpoint}"));
    }

    [Fact]
    public void Several_contexts_of_one_connection_keep_apart_what_each_means()
    {
        Script("m");
        string[] names = ["x-bitmapledger:changed:lsn:1..lsn:2", "qemu:dirty-bitmap:b0", "x-bitmapledger:bitmap:b0@lsn:1"];

        var seen = MetaContexts.Run(_ledger.Export("m"), $"""
            names = [{string.Join(", ", names.Select(MetaContexts.Quoted))}]
            h = connect(uri, "base:allocation", "x-bitmapledger:changed:lsn:99..now", *names)
            for i, name in enumerate(names):
                show(str(i), h, name)
            """);

        for (var i = 0; i < names.Length; i++)
        {
            Assert.Equal(MetaContexts.Map(_ledger.Export("m"), names[i]), seen[$"{i}"]);
            Assert.NotEmpty(seen[$"{i}"]);
        }
    }

    [Fact]
    public void A_context_of_a_volume_that_had_another_size_ends_where_the_export_ends()
    {
        _ledger.Json("volume", "create", "r", "--size", "8M");
        NbdShell.Write(_ledger.Export("r"), [(0, 512), (7 * MiB, 512)]);
        _ledger.Json("volume", "resize", "r", "--size", "4M");
        NbdShell.Write(_ledger.Export("r"), [(3 * MiB, 512)]);

        Assert.Equal([(0, 65_536)], MetaContexts.Map(_ledger.Export("r"), "x-bitmapledger:changed:start..lsn:2"));
        Assert.Equal([(0, 65_536), (3 * MiB, 65_536)], MetaContexts.Map(_ledger.Export("r"), "x-bitmapledger:changed:start..now"));
        _ledger.Json("volume", "resize", "r", "--size", "8M");
        Assert.Equal(
            Extents.Of(_ledger.Json("changed", "r", "--from", "lsn:2")),
            MetaContexts.Map(_ledger.Export("r"), "x-bitmapledger:changed:lsn:2..now"));
        Assert.Equal([(0, 65_536), (7 * MiB, 65_536)], MetaContexts.Map(_ledger.Export("r"), "x-bitmapledger:changed:start..lsn:2"));
    }

    [Fact]
    public void A_range_to_now_takes_in_what_is_written_while_the_client_looks()
    {
        Script("m");
        string[] names = ["x-bitmapledger:changed:lsn:4..now", "x-bitmapledger:changed:checkpoint:nightly", "x-bitmapledger:changed:lsn:4..lsn:5"];

        var seen = MetaContexts.Run(_ledger.Export("m"), $"""
            names = [{string.Join(", ", names.Select(MetaContexts.Quoted))}]
            h, other = connect(uri, *names), connect(uri)
            def look(tag):
                for i, name in enumerate(names):
                    show("%s%d" % (tag, i), h, name)
            look("before")
            h.pwrite(b"x" * 512, 12 << 20)
            look("own")
            other.pwrite(b"x" * 100000, 25 << 20)
            other.trim(65536, 1 << 20)
            look("other")
            """);

        (long, long)[] lastOne = [(20 * MiB, 65_536)];
        (long, long)[] sinceNightly = [(9 * MiB, 65_536), .. lastOne, (32 * MiB, 1024)];
        Assert.Equal(lastOne, seen["before0"]);
        Assert.Equal(sinceNightly, seen["before1"]);
        Assert.Equal(Extents.Merge([.. lastOne, (12 * MiB, 65_536)]), seen["own0"]);
        Assert.Equal(Extents.Merge([.. sinceNightly, (12 * MiB, 65_536)]), seen["own1"]);
        Assert.Equal(Extents.Of(_ledger.Json("changed", "m", "--from", "lsn:4")), seen["other0"]);
        Assert.Equal(Extents.Of(_ledger.Json("changed", "m", "--from", "checkpoint:nightly")), seen["other1"]);
        Assert.All(["before2", "own2", "other2"], look => Assert.Equal(lastOne, seen[look]));
    }

    // Method: a client writes each sector once for as long as the test lasts; others negotiate again and again meanwhile. What
    // was acknowledged before one of them looks is in what it sees, and what was before its range is not.
    [Fact]
    public void Clients_that_negotiate_while_others_write_see_every_acknowledged_write_of_their_range_and_none_before_it()
    {
        const int writes = 3000;
        _ledger.Json("volume", "create", "busy", "--size", "512M");

        var seen = MetaContexts.Run(_ledger.Export("busy"), $"""
            import threading
            acknowledged = 0
            def write():
                global acknowledged
                h = connect(uri)
                for block in range({writes}):
                    h.pwrite(b"x" * 512, block << 16)
                    acknowledged = block + 1
            writing = threading.Thread(target=write)
            writing.start()
            rounds = 0
            while writing.is_alive():
                first = acknowledged
                name = "x-bitmapledger:changed:lsn:%d..now" % first
                h = connect(uri, name)
                for look in range(2):
                    sure = acknowledged
                    blocks = set()
                    for at, length in dirty(h, name):
                        blocks.update(range(at >> 16, (at + length + 65535) >> 16))
                    missing = set(range(first, sure)) - blocks
                    surplus = {"{"}b for b in blocks if b < first{"}"}
                    if missing or surplus:
                        print("missing", *["%d+1" % b for b in missing])
                        print("surplus", *["%d+1" % b for b in surplus])
                        sys.exit(0)
                h.shutdown()
                rounds += 1
            writing.join()
            print("rounds", "%d+1" % rounds)
            """);

        Assert.Equal(["rounds"], seen.Keys);
        Assert.InRange(seen["rounds"].Single().Offset, 3, writes);
        Assert.True(_ledger.Json("verify", "busy").GetProperty("equal").GetBoolean());
    }

    [Fact]
    public void Where_single_writes_are_not_kept_any_more_a_range_reports_too_much_as_changed_does_and_never_too_little()
    {
        Script("m");
        var nightly = MetaContexts.Map(_ledger.Export("m"), "x-bitmapledger:changed:checkpoint:nightly..now");
        _ledger.Json("history", "retain", "m", "--exact", "0s", "--coalesced", "1y");

        foreach (var from in (string[])["lsn:1", "checkpoint:nightly", "lsn:4"])
            Assert.Equal(
                Extents.Of(_ledger.Json("changed", "m", "--from", from)),
                MetaContexts.Map(_ledger.Export("m"), $"x-bitmapledger:changed:{from}..now"));
        Assert.Equal(nightly, MetaContexts.Map(_ledger.Export("m"), "x-bitmapledger:changed:checkpoint:nightly..now"));
    }

    [Fact]
    public void A_list_names_every_checkpoint_and_kept_slice_as_a_range()
    {
        Script("m");
        _ledger.Json("checkpoint", "create", "m", "late: 1, ü");
        _ledger.Json("slice", "bank", "m", "b0");
        string[] ranges =
        [
            "x-bitmapledger:changed:checkpoint:nightly..now", "x-bitmapledger:changed:checkpoint:late: 1, ü..now",
            "x-bitmapledger:changed:slice:b0/0..now", "x-bitmapledger:changed:slice:b0/1..now",
        ];
        string[] own = ["base:allocation", "qemu:dirty-bitmap:b0", "qemu:dirty-bitmap:fine"];

        Assert.Equal([.. own, .. ranges], [.. List()[..3].Order(StringComparer.Ordinal), .. List()[3..]]);
        Assert.Equal(own[1..], List("qemu:").Order(StringComparer.Ordinal));
        Assert.Equal(ranges, List("x-bitmapledger:"));
        Assert.Equal(ranges[..2], List("x-bitmapledger:changed:checkpoint:"));
        Assert.Equal(["x-bitmapledger:changed:lsn:1..now"], List("x-bitmapledger:changed:lsn:1..now", "x-bitmapledger:changed:lsn:99..now"));
        Assert.All(ranges, r => Assert.Equal(
            Extents.Of(_ledger.Json("changed", "m", "--from", r["x-bitmapledger:changed:".Length..^5])), MetaContexts.Map(_ledger.Export("m"), r)));
        Assert.Contains(ranges[2], Tool.Run("nbdinfo", "--list", $"nbd+unix:///?socket={_ledger.NbdSocket}").Expect().Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("changed:checkpoint:nope..now", "Checkpoint 'nope' of volume 'm' not found")]
    [InlineData("changed:slice:b0/7..now", "Slice 7 of bitmap 'b0' not found")]
    [InlineData("changed:lsn:99..now", "'lsn:99' lies in the future: the last write is 5")]
    [InlineData("changed:lsn:1..event:999", "'event:999' lies in the future")]
    [InlineData("changed:lsn:3..lsn:2", "from 'lsn:3' is later than to 'lsn:2'; exchange them")]
    [InlineData("changed:-9d..now", "'-9d' is before the kept history of volume 'm'")]
    [InlineData("changed:yesterday", "'yesterday' is no point in time")]
    [InlineData("bitmap:nope@lsn:2", "Dirty bitmap 'nope' not found; at lsn:2")]
    [InlineData("bitmap:b0@event:1", "Dirty bitmap 'b0' not found; at event:1")]
    [InlineData("bitmap:b0", "'b0' is no bitmap at a point")]
    [InlineData("x", "there is no context of that name")]
    public void A_context_that_cannot_be_resolved_is_not_negotiated_and_the_agent_says_why(string name, string why)
    {
        Script("m");

        var refused = Tool.Run("nbdinfo", $"--map=x-bitmapledger:{name}", _ledger.Export("m"));

        Assert.Equal(1, refused.ExitCode);
        var log = File.ReadAllText(Path.Combine(_ledger.DataDirectory, "log", "agent.log"));
        Assert.Contains(
            log.Split('\n'), l => l.Contains($"context 'x-bitmapledger:{name}' of export 'm' is not negotiated with unix:pid=", StringComparison.Ordinal)
                && l.Contains(why, StringComparison.Ordinal));
    }

    private string[] List(params string[] queries) =>
        Tool.Run("nbdsh", "-c", $"""
            h.set_opt_mode(True)
            h.connect_uri({MetaContexts.Quoted(_ledger.Export("m"))})
            for query in [{string.Join(", ", queries.Select(MetaContexts.Quoted))}]:
                h.add_meta_context(query)
            h.opt_list_meta_context(lambda name: print(name))
            h.opt_abort()
            """).Expect().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>A short life: event 1 is the volume, 2 and 3 are bitmaps.</summary>
    private void Script(string volume)
    {
        _ledger.Json("volume", "create", volume, "--size", $"{Size}");
        _ledger.Json("bitmap", "add", volume, "b0");
        _ledger.Json("bitmap", "add", volume, "fine", "--granularity", "512");
        _ledger.Json("retention", "set", volume, "b0", "--slices", "3");
        NbdShell.Write(_ledger.Export(volume), [(0, 4096), (5 * MiB + 1, 70_000)]);
        _ledger.Json("checkpoint", "create", volume, "nightly");
        NbdShell.Write(_ledger.Export(volume), [(Size - 1, 1)]);
        _ledger.Json("slice", "bank", volume, "b0");
        NbdShell.Write(_ledger.Export(volume), [(9 * MiB, 1), (20 * MiB, 512)]);
    }
}
