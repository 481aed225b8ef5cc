using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>The clients that people use, against a running <c>bml serve</c>.</summary>
public sealed class RealClientTests(SharedLedger shared) : IClassFixture<SharedLedger>
{
    private const long MiB = 1 << 20;
    private readonly Ledger _ledger = shared.Empty();

    // Method: nbdsh writes at odd places, and a Python copy of the disk is its model; then the disk is read back whole.
    [Fact]
    public void Writes_of_odd_sizes_at_odd_offsets_read_back_as_written_and_are_reported_to_the_sector()
    {
        const long size = 8 * MiB - 512;
        _ledger.Json("volume", "create", "odd", "--size", $"{size}");

        var shell = NbdShell.Run(_ledger.Export("odd"), """
            import random, sys
            r = random.Random(20261122)
            model = bytearray(h.get_size())
            for i in range(300):
                length = r.choice([1, 3, 511, 512, 513, 4095, 4096, 65537, 200001])
                offset = r.randrange(0, len(model) - length + 1)
                data = bytes([r.randrange(1, 256)]) * length
                h.pwrite(data, offset)
                model[offset:offset + length] = data
                print(offset, length)
            got = bytearray()
            while len(got) < len(model):
                got += h.pread(min(1000001, len(model) - len(got)), len(got))
            sys.exit(0 if got == model else 1)
            """);

        var writes = shell.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(l => l.Split(' ')).Select(w => (long.Parse(w[0]), long.Parse(w[1]))).ToArray();
        var changed = _ledger.Json("changed", "odd", "--from", "start", "--granularity", "512");
        Assert.Equal(300, writes.Length);
        Assert.Equal(300, changed.GetProperty("to").GetProperty("lsn").GetInt64());
        Assert.True(changed.GetProperty("exact").GetBoolean());
        Assert.Equal(Extents.Touched(writes, 512, size), Extents.Of(changed));
    }

    [Fact]
    public void An_image_of_a_gibibyte_goes_in_and_out_through_nbdcopy_byte_for_byte()
    {
        var image = _ledger.Scratch("in.img");
        Tool.Run(
            "sh", "-c",
            $"truncate -s 1G {image} && dd if=/dev/urandom of={image} bs=1M count=300 seek=100 conv=notrunc").Expect();
        _ledger.Json("volume", "create", "big", "--size", "1G");

        Tool.Run("nbdcopy", "--flush", image, _ledger.Export("big")).Expect();
        Tool.Run("nbdcopy", _ledger.Export("big"), _ledger.Scratch("out.img")).Expect();

        Tool.Run("cmp", image, _ledger.Scratch("out.img")).Expect();
        Tool.Run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, _ledger.Export("big")).Expect();
    }

    [Fact]
    public void Qemu_io_writes_zeroes_discards_and_flushes_and_each_is_an_entry_of_the_history()
    {
        _ledger.Json("volume", "create", "q", "--size", "64M");

        Tool.Run("qemu-io", "-f", "raw", "-t", "none", "-c", "write -P 0x5a 0 64k", "-c", "write -z 128k 64k",
            "-c", "discard 256k 64k", "-c", "flush", "-c", "read -P 0x5a 0 64k", "-c", "read -P 0 128k 64k",
            _ledger.Export("q")).Expect();

        var writes = _ledger.Json(
            "blame", "q", "--offset", "0", "--length", "64M").GetProperty("writes").EnumerateArray()
            .Select(w => $"{w.GetProperty("lsn")} {w.GetProperty("kind")} {w.GetProperty("offset")} {w.GetProperty("length")}");
        Assert.Equal(
            ["3 trim 262144 65536", "2 write-zeroes 131072 65536", "1 write 0 65536"],
            writes);
    }

    [Fact]
    public void Fio_verifies_what_it_wrote()
    {
        _ledger.Json("volume", "create", "f", "--size", "64M");

        var fio = Tool.Run("fio", "--name=v", "--ioengine=nbd", $"--uri={_ledger.Export("f")}", "--rw=randrw", "--bs=4k",
            "--size=32M", "--iodepth=32", "--verify=crc32c", "--output-format=json").Expect();

        using var report = JsonDocument.Parse(fio.Output[fio.Output.IndexOf('{')..]);
        var job = report.RootElement.GetProperty("jobs")[0];
        Assert.Equal(0, job.GetProperty("error").GetInt32());
        var written = job.GetProperty("write").GetProperty("total_ios").GetInt64();
        Assert.Equal(written, _ledger.Json("volume", "show", "f").GetProperty("lsn").GetProperty("last").GetInt64());
    }

    [Fact]
    public void Nbdinfo_maps_a_bitmap_as_replay_has_it()
    {
        const long size = 32 * MiB + 1000;
        _ledger.Json("volume", "create", "m", "--size", $"{size}");
        NbdShell.Write(_ledger.Export("m"), [(0, 4096)]);
        _ledger.Json("bitmap", "add", "m", "b0");
        _ledger.Json("bitmap", "add", "m", "fine", "--granularity", "512");
        NbdShell.Write(_ledger.Export("m"), [(5 * MiB + 1, 70_000), (size - 1, 1), (9 * MiB, 1)]);
        _ledger.Json("bitmap", "disable", "m", "fine");
        NbdShell.Write(_ledger.Export("m"), [(20 * MiB, 512)]);

        foreach (var bitmap in new[] { "b0", "fine" })
        {
            var map = Tool.Run(
                "nbdinfo", $"--map=qemu:dirty-bitmap:{bitmap}", "--json", _ledger.Export("m")).Expect().Output;
            var replayed = _ledger.Json("replay", "m", "--at", "now", "--bitmap", bitmap).GetProperty("bitmaps")[0];

            Assert.Equal(Extents.Of(replayed), Extents.DirtyOf(map));
            Assert.NotEmpty(Extents.Of(replayed));
        }

        Assert.True(_ledger.Json("verify", "m").GetProperty("equal").GetBoolean());
    }

    [Fact]
    public void Nbdinfo_lists_every_volume_and_the_contexts_of_each()
    {
        _ledger.Json("volume", "create", "one", "--size", "1M");
        _ledger.Json("volume", "create", "two", "--size", "2M");
        _ledger.Json("bitmap", "add", "two", "b0");

        using var list = JsonDocument.Parse(
            Tool.Run("nbdinfo", "--list", "--json", $"nbd+unix:///?socket={_ledger.NbdSocket}").Expect().Output);

        var exports = list.RootElement.GetProperty(
            "exports").EnumerateArray().ToDictionary(e => e.GetProperty("export-name").GetString()!);
        Assert.Equal(["one", "two"], exports.Keys.Order());
        Assert.Equal(2 * MiB, exports["two"].GetProperty("export-size").GetInt64());
        Assert.Equal(
            ["base:allocation", "qemu:dirty-bitmap:b0"],
            exports["two"].GetProperty(
                "contexts").EnumerateArray().Select(c => c.GetString()).Order(StringComparer.Ordinal));
    }
}
