using System.Text.Json;
using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Rebuilding;

namespace BitmapLedger.Ledger.Verifying;

/// <summary>The projected bits of a volume at a position: its row, and the events behind it. The creator disposes.</summary>
internal sealed class ProjectedBits : IDisposable
{
    private readonly Refolding? _fold;

    private ProjectedBits(Refolding? fold, long? damagedAt)
    {
        _fold = fold;
        DamagedAt = damagedAt;
    }

    /// <summary>Whether the row has anything to say: it is there, and not further than the position.</summary>
    public bool IsThere => _fold is not null || DamagedAt is not null;

    /// <summary>The event at which a row stands that cannot be read; null when it can.</summary>
    public long? DamagedAt { get; }

    /// <summary>Reads the row.</summary>
    /// <returns>The caller disposes it.</returns>
    public static async Task<ProjectedBits> LoadAsync(
        BitmapBits rows, HistorySnapshot look, Position at, CancellationToken cancellation)
    {
        BitmapReplay row;
        try
        {
            row = await rows.LoadAsync(look.VolumeId, cancellation);
        }
        catch (Exception fault) when (fault is CorruptionException or JsonException)
        {
            return new(fold: null, (await rows.PlaceAsync(look.VolumeId, cancellation)).Event);
        }

        var stands = row.State.Event;
        // A row that is further than the position cannot go back.
        if (stands == 0 || stands > at.Event || (stands == at.Event && at.Lsn < row.State.LastLsn))
        {
            row.Dispose();
            return new(fold: null, damagedAt: null);
        }

        var fold = new Refolding(row);
        await fold.GoOnAsync(look, at, cancellation);
        return new(fold, damagedAt: null);
    }

    /// <summary>The bits of a bitmap, which stay here; null when they are not there.</summary>
    public NativeBitmap? Bits(string name) => _fold?.Replay.State.Bitmap(name) is null ? null : _fold.Replay.Bits(name);

    /// <summary>The bits of a slice, which stay here; null when they are not there, or cannot be read.</summary>
    public NativeBitmap? SliceBits(string bitmap, long number)
    {
        if (_fold?.Replay.State.Bitmap(bitmap)?.Slice(number) is null)
            return null;
        try
        {
            return _fold.Replay.SliceBits(bitmap, number);
        }
        catch (Exception fault) when (fault is CorruptionException or KeyNotFoundException)
        {
            return null;
        }
    }

    /// <inheritdoc />
    public void Dispose() => _fold?.Dispose();
}
