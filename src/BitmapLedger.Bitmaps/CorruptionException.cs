namespace BitmapLedger.Bitmaps;

/// <summary>Bytes that were written whole are no longer what they were.</summary>
/// <param name="place">The file, or the row, that is damaged.</param>
/// <param name="offsetBytes">Where in it the damage starts.</param>
/// <param name="fault">What is wrong there, in words.</param>
public sealed class CorruptionException(string place, long offsetBytes, string fault)
    : BitmapLedgerException($"{place} is damaged at byte {offsetBytes}: {fault}")
{
    /// <inheritdoc />
    public override string Code => "damaged";

    /// <summary>The file, or the row, that is damaged.</summary>
    public string Place { get; } = place;

    /// <summary>Where in <see cref="Place"/> the damage starts, in bytes.</summary>
    public long OffsetBytes { get; } = offsetBytes;

    /// <summary>What is wrong there, in words.</summary>
    public string Fault { get; } = fault;
}
