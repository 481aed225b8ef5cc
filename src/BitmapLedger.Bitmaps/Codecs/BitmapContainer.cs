using System.Numerics;

namespace BitmapLedger.Bitmaps.Codecs;

/// <summary>How the bits of a container are written. The values are stored; they never change.</summary>
internal enum BitmapForm : byte
{
    /// <summary>Every block is dirty; no payload.</summary>
    Full = 1,

    /// <summary>Pairs of varints: clean blocks before the run, dirty blocks less one.</summary>
    Runs = 2,

    /// <summary>A varint a dirty block: clean blocks since the one before.</summary>
    Gaps = 3,

    /// <summary>The bits themselves, little-endian words, as many bytes as the container has.</summary>
    Raw = 4,
}

/// <summary>65,536 blocks of a map, or what is left at its end, in the smallest of four forms.</summary>
internal static class BitmapContainer
{
    public static BitmapForm Write(ByteWriter target, NativeBitmap map, long container)
    {
        var first = container << BitmapCodec.ContainerShift;
        var blocks = Blocks(map, container);
        long dirty = 0, runBytes = 0, gapBytes = 0;
        foreach (var (gap, count) in Runs(map, first, blocks))
        {
            dirty += count;
            runBytes += Varint.Size((ulong)gap) + Varint.Size((ulong)count - 1);
            gapBytes += Varint.Size((ulong)gap) + count - 1;
        }

        if (dirty == blocks)
            return BitmapForm.Full;
        var rawBytes = (blocks + 7) / 8;
        if (rawBytes < Math.Min(runBytes, gapBytes))
            return Raw(target, map, first, blocks, (int)rawBytes);

        var form = runBytes <= gapBytes ? BitmapForm.Runs : BitmapForm.Gaps;
        foreach (var (gap, count) in Runs(map, first, blocks))
        {
            target.Varint((ulong)gap);
            if (form == BitmapForm.Runs)
                target.Varint((ulong)count - 1);
            else
                for (var i = 1; i < count; i++)
                    target.Varint(0);
        }

        return form;
    }

    public static bool TryRead(ReadOnlySpan<byte> source, BitmapForm form, NativeBitmap map, long container)
    {
        var first = container << BitmapCodec.ContainerShift;
        var blocks = Blocks(map, container);
        switch (form)
        {
            case BitmapForm.Full:
                map.MarkBlocks(new(first, blocks));
                return source.IsEmpty;
            case BitmapForm.Runs or BitmapForm.Gaps:
                return TryReadRuns(source, form, map, first, blocks);
            case BitmapForm.Raw:
                return source.Length == (blocks + 7) / 8 && TryReadRaw(source, map, first, blocks);
            default:
                return false;
        }
    }

    private static long Blocks(NativeBitmap map, long container) =>
        Math.Min(BitmapCodec.ContainerBlocks, map.BlockCount - (container << BitmapCodec.ContainerShift));

    private static IEnumerable<(long Gap, long Count)> Runs(NativeBitmap map, long first, long blocks)
    {
        var end = first;
        while (end < first + blocks && map.TryFindRun(end, out var run) && run.First < first + blocks)
        {
            var count = Math.Min(run.Count, first + blocks - run.First);
            yield return (run.First - end, count);
            end = run.First + count;
        }
    }

    private static BitmapForm Raw(ByteWriter target, NativeBitmap map, long first, long blocks, int bytes)
    {
        var raw = new byte[bytes];
        var at = first;
        foreach (var (gap, count) in Runs(map, first, blocks))
        {
            at += gap;
            for (var end = at + count; at < end; at++)
                raw[(at - first) >> 3] |= (byte)(1 << (int)((at - first) & 7));
        }

        target.Bytes(raw);
        return BitmapForm.Raw;
    }

    private static bool TryReadRuns(
        ReadOnlySpan<byte> source, BitmapForm form, NativeBitmap map, long first, long blocks)
    {
        var at = 0L;
        for (var position = 0; position < source.Length;)
        {
            var count = 0UL;
            if (!Varint.TryRead(source, ref position, out var gap)
                || (form == BitmapForm.Runs && !Varint.TryRead(source, ref position, out count))
                || gap >= (ulong)(blocks - at) || count >= (ulong)(blocks - at) - gap)
                return false;
            map.MarkBlocks(new(first + at + (long)gap, (long)count + 1));
            at += (long)gap + (long)count + 1;
        }

        return at > 0;
    }

    private static bool TryReadRaw(ReadOnlySpan<byte> source, NativeBitmap map, long first, long blocks)
    {
        for (var i = 0; i < source.Length; i++)
        {
            for (var bits = (uint)source[i]; bits != 0; bits &= bits - 1)
            {
                var block = i * 8L + BitOperations.TrailingZeroCount(bits);
                if (block >= blocks)
                    return false;
                map.MarkBlocks(new(first + block, 1));
            }
        }

        return true;
    }
}
