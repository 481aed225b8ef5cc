using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>The past as NBD clients see it: contexts that name a range, or a bitmap at a point.</summary>
public sealed class MetaContextTests(SharedLedger shared) : IClassFixture<SharedLedger>
{
    private const long MiB = 1 << 20;
    private const long Size = 32 * MiB + 1000;
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
