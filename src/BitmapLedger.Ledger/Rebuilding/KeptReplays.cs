using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>
/// Replays that a page of events left behind for the next page of their volumes, the oldest dropped first. They are a guess:
/// whoever takes one compares it with the row, since what it was kept for may never have been committed. Any thread.
/// </summary>
internal sealed class KeptReplays
{
    private const int CountMax = 64;

    private static readonly long _bytesMax = 64.MiB;

    private readonly Lock _lock = new();
    private readonly LinkedList<Kept> _kept = [];
    private long _bytes;

    /// <summary>Takes out the replay of a volume; the caller disposes it or keeps it again.</summary>
    public BitmapReplay? Take(Guid volumeId)
    {
        lock (_lock)
        {
            for (var node = _kept.First; node is not null; node = node.Next)
                if (node.Value.VolumeId == volumeId)
                    return Remove(node);
            return null;
        }
    }

    /// <summary>Takes over a replay. One that is too large is disposed at once.</summary>
    public void Keep(Guid volumeId, BitmapReplay replay)
    {
        Take(volumeId)?.Dispose();
        var kept = new Kept(volumeId, replay, replay.BytesMax);
        lock (_lock)
        {
            _kept.AddLast(kept);
            _bytes += kept.Bytes;
            while (_kept.Count > CountMax || _bytes > _bytesMax)
                Remove(_kept.First!).Dispose();
        }
    }

    private BitmapReplay Remove(LinkedListNode<Kept> node)
    {
        _kept.Remove(node);
        _bytes -= node.Value.Bytes;
        return node.Value.Replay;
    }

    private readonly record struct Kept(Guid VolumeId, BitmapReplay Replay, long Bytes);
}
