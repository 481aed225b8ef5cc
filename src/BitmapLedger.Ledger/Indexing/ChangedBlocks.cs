using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>What changed in a stretch of history. The creator disposes.</summary>
/// <param name="map">The blocks.</param>
/// <param name="isExact">False when more may be in it than was written.</param>
/// <param name="gaps">Where writes may have gone unrecorded, oldest first.</param>
public sealed class ChangedBlocks(NativeBitmap map, bool isExact, IReadOnlyList<Gap> gaps) : IDisposable
{
    /// <summary>The blocks.</summary>
    public NativeBitmap Map { get; } = map;

    /// <summary>False when more may be in <see cref="Map"/> than was written.</summary>
    public bool IsExact { get; } = isExact;

    /// <summary>Where writes may have gone unrecorded, oldest first.</summary>
    public IReadOnlyList<Gap> Gaps { get; } = gaps;

    /// <inheritdoc />
    public void Dispose() => Map.Dispose();
}
