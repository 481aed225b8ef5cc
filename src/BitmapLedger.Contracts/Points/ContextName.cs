using System.Text;

namespace BitmapLedger.Contracts.Points;

/// <summary>A meta context of ours, as spec/nbd.md names it. Taken apart here, resolved by the ledger.</summary>
public abstract record ContextName
{
    /// <summary>What all of them begin with.</summary>
    public const string Namespace = "x-bitmapledger:";

    /// <summary>Longest name in bytes: what NBD allows a string.</summary>
    public const int BytesMax = 4096;

    private const string ChangedWord = Namespace + "changed:";
    private const string BitmapWord = Namespace + "bitmap:";
    private const string Now = "now";

    private ContextName()
    {
    }

    /// <summary>What changed in a range.</summary>
    /// <param name="From">Where it begins.</param>
    /// <param name="To">Where it ends; null for one that goes on.</param>
    public sealed record Changed(string From, string? To) : ContextName
    {
        /// <summary>Whether later writes belong to it too.</summary>
        public bool IsLive => To is null or Now;
    }

    /// <summary>A bitmap as it was.</summary>
    /// <param name="Name">Name of the bitmap.</param>
    /// <param name="At">When.</param>
    public sealed record Bitmap(string Name, string At) : ContextName;

    /// <summary>The range from a checkpoint on.</summary>
    public static string SinceCheckpoint(string name) => $"{ChangedWord}checkpoint:{name}..{Now}";

    /// <summary>The range from the end of a slice on.</summary>
    public static string SinceSlice(string bitmap, long number) => $"{ChangedWord}slice:{bitmap}/{number}..{Now}";

    /// <summary>Reads a name that begins with <see cref="Namespace"/>.</summary>
    /// <param name="text">As the client sent it.</param>
    /// <param name="fault">What is wrong with it.</param>
    /// <returns>Null when it is none.</returns>
    public static ContextName? TryParse(string text, out string fault)
    {
        if (Encoding.UTF8.GetByteCount(text) > BytesMax)
            fault = $"it is longer than {BytesMax} bytes";
        else if (text.StartsWith(ChangedWord, StringComparison.Ordinal))
            return ParseChanged(text[ChangedWord.Length..], out fault);
        else if (text.StartsWith(BitmapWord, StringComparison.Ordinal))
            return ParseBitmap(text[BitmapWord.Length..], out fault);
        else
            fault = $"there is no context of that name; write {ChangedWord}FROM..TO or {BitmapWord}NAME@POINT";
        return null;
    }

    private static Changed? ParseChanged(string range, out string fault)
    {
        var (from, to) = PointRange.Split(range, to: null);
        return Point.TryParse(from, out fault) is not null && (to is null || Point.TryParse(to, out fault) is not null)
            ? new(from, to)
            : null;
    }

    /// <summary>The bitmap's name ends at the last <c>@</c>.</summary>
    private static Bitmap? ParseBitmap(string text, out string fault)
    {
        var end = text.LastIndexOf('@');
        if (end > 0)
            return Point.TryParse(text[(end + 1)..], out fault) is null ? null : new(text[..end], text[(end + 1)..]);
        fault = $"'{text}' is no bitmap at a point; write NAME@POINT, or qemu:dirty-bitmap:NAME for a bitmap as it is now";
        return null;
    }
}
