namespace BitmapLedger.Testing;

/// <summary>Compares two images block by block: the truth that every answer about changes is held to.</summary>
public static class DataCompare
{
    /// <summary>Offsets of the blocks that differ, ascending.</summary>
    /// <param name="left">Path of an image.</param>
    /// <param name="right">Path of another one, of the same length.</param>
    /// <param name="block">Bytes of a block; the length is a multiple of it.</param>
    public static List<long> Differing(string left, string right, int block)
    {
        List<long> offsets = [];
        using var a = File.OpenRead(left);
        using var b = File.OpenRead(right);
        if (a.Length != b.Length)
            throw new InvalidOperationException($"{left} has {a.Length} bytes, {right} {b.Length}");
        byte[] ofA = new byte[block], ofB = new byte[block];
        for (var offset = 0L; offset < a.Length; offset += block)
        {
            a.ReadExactly(ofA);
            b.ReadExactly(ofB);
            if (!ofA.AsSpan().SequenceEqual(ofB))
                offsets.Add(offset);
        }

        return offsets;
    }

    /// <summary>Those of some blocks that lie in no extent, or not wholly.</summary>
    public static List<long> NotIn(IReadOnlyList<(long Offset, long Length)> extents, List<long> blocks, int block) =>
        [.. blocks.Where(at => !extents.Any(e => e.Offset <= at && at + block <= e.Offset + e.Length))];
}
