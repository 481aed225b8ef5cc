using System.Globalization;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Tests;

/// <summary>
/// A volume of 1 TiB with random 4 KiB writes, 300,000 of them; <c>tools/test --scale</c> makes it 10 million
/// (<c>BITMAPLEDGER_SCALE_WRITES</c>). Every answer is compared with what a plain bitmap says.
/// </summary>
public sealed class ScaleTests(PostgresFixture postgres)
{
    private const long Size = 1L << 40;
    private const int BlockWrites = 16_384;
    private static readonly CancellationToken _none = CancellationToken.None;
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(20);
    private readonly Guid _volume = Guid.CreateVersion7();
    private readonly Random _random = new(12);
    private readonly List<int> _blocks = [];
    private long _event;

    [Fact]
    public async Task However_long_a_history_is_answers_bits_and_rebuilds_are_the_fold_of_its_writes()
    {
        var count = Environment.GetEnvironmentVariable("BITMAPLEDGER_SCALE_WRITES") is { Length: > 0 } given
            ? int.Parse(given, CultureInfo.InvariantCulture)
            : 300_000;
        await using var ledger = await TestLedger.StartAsync(postgres);
        await AppendAsync(
            ledger, new VolumeCreated("big", Size, "file:/big", "/big", false, "process", "stall", 0), new BitmapAdded("b0", 65_536, false, true, 0));
        while (_blocks.Count < count)
            await AppendAsync(ledger, [.. Enumerable.Range(0, 4).Select(_ => Block())]);

        await CompareAsync(ledger);
        using (var daemon = await ledger.Store.BuildProjectionDaemonAsync())
        {
            await daemon.StartAllAsync();
            await daemon.WaitForNonStaleData(_limit);
            await daemon.StopAllAsync();
        }

        await CompareAsync(ledger);
        var rebuild = new ProjectionRebuild(ledger.Store, ledger.Source, TimeProvider.System);
        foreach (var name in rebuild.Names)
        {
            await rebuild.BeginAsync(name, _none);
            await rebuild.RunAsync(name, _none);
        }

        await CompareAsync(ledger);
    }

    private async Task AppendAsync(TestLedger ledger, params IVolumeEvent[] events)
    {
        await ledger.Streams.AppendAsync(
            [new(_volume, _event, [.. events.Select(e => new TimedEvent(e, Timestamps.FromMicroseconds(1_790_000_000_000_000)))])], null, null, _none);
        _event += events.Length;
    }

    private WritesRecorded Block()
    {
        var writes = new SingleWrite[BlockWrites];
        for (var i = 0; i < writes.Length; i++)
        {
            var offset = _random.NextInt64(Size / 4096) * 4096;
            _blocks.Add((int)(offset >> 16));
            writes[i] = new(_blocks.Count, 1_790_000_000_000_000, WriteKind.Write, offset, 4096, 1);
        }

        _ = PackedWrites.TryRead(PackedWrites.Encode(writes, [], []), out var packed);
        return new(packed!);
    }

    /// <summary>The bits now, and what changed between pairs of writes: near, far, and all.</summary>
    private async Task CompareAsync(TestLedger ledger)
    {
        using var all = Fold(0, _blocks.Count);
        using (var row = await new BitmapBits(ledger.Source).LoadAsync(_volume, _none))
        using (var replay = await ledger.Reader.ReplayAsync(_volume, row, new(long.MaxValue, long.MaxValue, default), _none))
            Assert.Equal(all.Sha256(), replay.Bits("b0").Sha256());
        foreach (var part in (double[])[0.0001, 0.01, 0.5, 1])
        {
            var length = Math.Max(1, (int)(part * _blocks.Count));
            var first = _random.Next(_blocks.Count - length + 1);
            using var expected = Fold(first, length);
            var answer = await ledger.Queries.ChangedAsync("big", $"lsn:{first}", $"lsn:{first + length}", null, null, _none);
            Assert.Equal(expected.Extents(), answer.Extents!.Select(e => new Extent(e.Offset, e.Length)));
            Assert.Equal(expected.DirtyBytes, answer.ChangedBytes);
        }
    }

    private NativeBitmap Fold(int first, int length)
    {
        NativeBitmap map = new(Size, Granularity.Default);
        for (var i = first; i < first + length; i++)
            map.MarkBlocks(new(_blocks[i], 1));
        return map;
    }
}
