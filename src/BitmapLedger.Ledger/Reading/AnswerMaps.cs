using BitmapLedger.Bitmaps;

namespace BitmapLedger.Ledger.Reading;

/// <summary>
/// The maps that the answers of one request are read from while they are written: extents of a large volume are many times as
/// large as its map. They go with the request. Not for several threads at once.
/// </summary>
public sealed class AnswerMaps : IDisposable
{
    private readonly List<NativeBitmap> _maps = [];

    /// <summary>Takes a map over.</summary>
    /// <returns>The map.</returns>
    public NativeBitmap Keep(NativeBitmap map)
    {
        _maps.Add(map);
        return map;
    }

    /// <inheritdoc />
    public void Dispose() => _maps.ForEach(m => m.Dispose());
}
