namespace BitmapLedger.Bitmaps;

/// <summary>A file is whole, and of a format that only a later program reads: that is no damage, and nothing to repair.</summary>
/// <param name="place">The file.</param>
/// <param name="version">Its version.</param>
/// <param name="newest">The newest version that this program reads.</param>
public sealed class FormatVersionException(string place, long version, long newest)
    : BitmapLedgerException($"{place} is of version {version}, and this program reads versions up to {newest}: run the program that wrote it")
{
    /// <inheritdoc />
    public override string Code => "unsupported";
}
