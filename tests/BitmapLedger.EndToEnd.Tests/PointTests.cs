using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>Any two points of a history answer as a naive model of the same writes does.</summary>
public sealed class PointTests : IAsyncLifetime
{
    private const long Size = (64 << 20) - 4608;
    private Ledger _ledger = null!;

    public async ValueTask InitializeAsync() => _ledger = await Ledger.StartAsync();

    public async ValueTask DisposeAsync() => await _ledger.DisposeAsync();

    [Fact]
    public void Changed_and_replay_are_exact_to_the_single_write_for_every_pair_tried()
    {
        const int writes = 1_000, every = 125;
        var random = new Random(20_261_122);
        var model = Enumerable.Range(0, writes).Select(_ => Write(random)).ToArray();
        _ledger.Json("volume", "create", "v", "--size", $"{Size}");
        _ledger.Json("bitmap", "add", "v", "b0", "--granularity", "4096");
        foreach (var (chunk, number) in model.Chunk(every).Select((c, i) => (c, i)))
        {
            NbdShell.Write(_ledger.Export("v"), chunk);
            _ledger.Json("checkpoint", "create", "v", $"c{number}");
        }

        for (var pair = 0; pair < 40; pair++)
        {
            var from = random.Next(0, writes + 1);
            var to = random.Next(from, writes + 1);
            var granularity = 512L << random.Next(0, 10);
            var changed = _ledger.Json(
                "changed", "v", "--from", $"lsn:{from}", "--to", $"lsn:{to}", "--granularity", $"{granularity}");
            var replay = _ledger.Json("replay", "v", "--at", $"lsn:{to}").GetProperty("bitmaps");

            var expected = Extents.Touched(model[from..to], granularity, Size);
            Assert.Equal(expected, Extents.Of(changed));
            Assert.Equal(expected.Sum(e => e.Length), changed.GetProperty("changed_bytes").GetInt64());
            Assert.True(changed.GetProperty("exact").GetBoolean());
            if (to > 0)
                Assert.Equal(Extents.Touched(model[..to], 4096, Size), Extents.Of(replay[0]));
        }

        for (var checkpoint = 0; checkpoint < writes / every - 1; checkpoint++)
        {
            var changed = _ledger.Json(
                "changed", "v", "--from", $"checkpoint:c{checkpoint}", "--to", $"checkpoint:c{checkpoint + 1}");
            var between = model[((checkpoint + 1) * every)..((checkpoint + 2) * every)];
            Assert.Equal(Extents.Touched(between, 65_536, Size), Extents.Of(changed));
        }
    }

    [Fact]
    public void An_instant_takes_in_every_write_up_to_it_and_a_relative_point_counts_back_from_now()
    {
        _ledger.Json("volume", "create", "v", "--size", "1M");
        NbdShell.Write(_ledger.Export("v"), [(0, 512), (512, 512), (1024, 512)]);
        var second = _ledger.Json(
            "blame", "v", "--offset", "512", "--length", "1").GetProperty("writes")[0].GetProperty("time").GetString()!;

        var upTo = _ledger.Json("changed", "v", "--from", "start", "--to", second, "--granularity", "512");
        var hourAgo = _ledger.Bml("changed", "v", "--from", "-1h", "--json");

        Assert.Equal(2, upTo.GetProperty("to").GetProperty("lsn").GetInt64());
        Assert.Equal([(0, 1024)], Extents.Of(upTo));
        // One hour ago the volume did not exist: a point before the kept history.
        Assert.Equal(13, hourAgo.ExitCode);
    }

    [Fact]
    public void A_write_after_clear_is_after_it_for_every_point()
    {
        _ledger.Json("volume", "create", "v", "--size", "1M");
        _ledger.Json("bitmap", "add", "v", "b0", "--granularity", "4096");
        NbdShell.Write(_ledger.Export("v"), [(0, 512)]);
        var clear = _ledger.Json("bitmap", "clear", "v", "b0").GetProperty("event").GetInt64();
        NbdShell.Write(_ledger.Export("v"), [(8192, 512)]);

        var beforeClear = _ledger.Json("replay", "v", "--at", "lsn:1").GetProperty("bitmaps")[0];
        var afterClear = _ledger.Json("replay", "v", "--at", $"event:{clear}").GetProperty("bitmaps")[0];
        var now = _ledger.Json("replay", "v", "--at", "now").GetProperty("bitmaps")[0];

        Assert.Equal([(0, 4096)], Extents.Of(beforeClear));
        Assert.Empty(Extents.Of(afterClear));
        Assert.Equal([(8192, 4096)], Extents.Of(now));
    }

    private static (long Offset, long Length) Write(Random random)
    {
        var length = random.Next(4) switch { 0 => 512L, 1 => 4096, 2 => random.Next(1, 100_000), _ => 65_536 };
        return (random.NextInt64(0, Size - length + 1), length);
    }
}
