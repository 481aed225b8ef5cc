namespace BitmapLedger.Domain.Tests;

/// <summary>
/// A volume with bitmaps as one would write it who knows nothing of terms, transfers or summaries: an array of bools a
/// bitmap, copied wherever something is kept. The rules are those of reference QEMU and of spec/qmp.md, written anew.
/// </summary>
internal sealed class NaiveVolume(long size)
{
    public long Size { get; private set; } = size;

    public Dictionary<string, NaiveBitmap> Bitmaps { get; } = [];

    public void Write(long offset, long length)
    {
        foreach (var bitmap in Bitmaps.Values.Where(b => b.Recording))
            Touch(bitmap.Successor ?? bitmap.Bits, bitmap.Granularity, offset, length);
    }

    public void Add(string name, long granularity, bool recording) =>
        Bitmaps[name] = new() { Granularity = granularity, Recording = recording, Bits = new bool[Blocks(granularity)] };

    public void Merge(string target, IEnumerable<(bool[] Bits, long Granularity)> sources)
    {
        var into = Bitmaps[target];
        // Copied first, as a merge of a bitmap into itself must not see itself change.
        foreach (var (bits, granularity) in sources.Select(s => ((bool[])s.Bits.Clone(), s.Granularity)).ToArray())
            for (long block = 0; block < bits.Length; block++)
                if (bits[block])
                    Touch(into.Bits, into.Granularity, block * granularity, Math.Min(granularity, Size - block * granularity));
    }

    public void Resize(long bytes)
    {
        Size = bytes;
        foreach (var bitmap in Bitmaps.Values)
        {
            bitmap.Bits = Fit(bitmap.Bits, bitmap.Granularity);
            bitmap.Successor = bitmap.Successor is null ? null : Fit(bitmap.Successor, bitmap.Granularity);
            foreach (var number in bitmap.Slices.Keys.ToArray())
                bitmap.Slices[number] = Fit(bitmap.Slices[number], bitmap.Granularity);
        }
    }

    public void Bank(string name)
    {
        var bitmap = Bitmaps[name];
        bitmap.Slices[bitmap.Next++] = bitmap.Bits;
        bitmap.Bits = new bool[Blocks(bitmap.Granularity)];
    }

    public void DeleteSlice(string name, long number)
    {
        var slices = Bitmaps[name].Slices;
        var older = slices.Keys.Where(n => n < number).ToArray();
        if (older.Length > 0)
            Or(slices[older.Max()], slices[number]);
        slices.Remove(number);
    }

    public void StartJob(string name, string mode)
    {
        var bitmap = Bitmaps[name];
        bitmap.Mode = mode;
        bitmap.Successor = new bool[bitmap.Bits.Length];
    }

    /// <summary>QEMU's table of outcomes.</summary>
    public void EndJob(string name, bool success, bool[]? left, bool banks)
    {
        var bitmap = Bitmaps[name];
        var successor = bitmap.Successor!;
        if (bitmap.Mode != "never" && success)
        {
            if (banks)
                bitmap.Slices[bitmap.Next++] = bitmap.Bits;
            bitmap.Bits = successor;
        }
        else if (bitmap.Mode == "always" && left is not null)
        {
            bitmap.Bits = successor;
            Or(bitmap.Bits, left);
        }
        else
        {
            Or(bitmap.Bits, successor);
        }

        bitmap.Successor = null;
    }

    public static void Touch(bool[] bits, long granularity, long offset, long length)
    {
        for (var block = offset / granularity; length > 0 && block <= (offset + length - 1) / granularity; block++)
            bits[block] = true;
    }

    public static void Or(bool[] into, bool[] from)
    {
        for (var i = 0; i < from.Length; i++)
            into[i] |= from[i];
    }

    public long Blocks(long granularity) => (Size + granularity - 1) / granularity;

    private bool[] Fit(bool[] bits, long granularity)
    {
        var fitted = new bool[Blocks(granularity)];
        Array.Copy(bits, fitted, Math.Min(bits.Length, fitted.Length));
        return fitted;
    }
}

/// <summary>A bitmap of a <see cref="NaiveVolume"/>.</summary>
internal sealed class NaiveBitmap
{
    public long Granularity { get; init; }

    public bool Recording { get; set; }

    public bool[] Bits { get; set; } = [];

    public bool[]? Successor { get; set; }

    public string? Mode { get; set; }

    public SortedDictionary<long, bool[]> Slices { get; } = [];

    public long Next { get; set; }
}
