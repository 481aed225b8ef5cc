using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Writes;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>What finding an event needs to know of it; a block of writes is not read for it but for its first bytes.</summary>
/// <param name="Number">Its number.</param>
/// <param name="First">Number of the first event that it stands for: its own, but for coalesced writes.</param>
/// <param name="Time">When it happened; for a block of writes, when its last write did.</param>
/// <param name="FirstLsn">LSN of its first write; of a command, of the first write that can come behind it. Never falls along
/// a stream.</param>
public readonly record struct EventHead(long Number, long First, DateTimeOffset Time, long FirstLsn)
{
    /// <summary>So many bytes at the beginning of writes, coalesced or not, are needed.</summary>
    internal const int PrefixBytes =
        PackedWrites.PrefixBytes > CoalescedWrites.PrefixBytes ? PackedWrites.PrefixBytes : CoalescedWrites.PrefixBytes;

    /// <summary>Reads what the database gives of an event.</summary>
    /// <param name="number">Its number.</param>
    /// <param name="time">When it happened.</param>
    /// <param name="type">Name of its type.</param>
    /// <param name="prefix">The beginning of writes, coalesced or not; null for a command.</param>
    /// <param name="atLsn">LSN that a command stands after.</param>
    /// <exception cref="CorruptionException">The beginning is not what was written.</exception>
    internal static EventHead Of(long number, DateTimeOffset time, string type, byte[]? prefix, long atLsn)
    {
        if (prefix is null)
            return new(number, number, time, atLsn + 1);
        var (first, firstLsn) = (number, 0L);
        var fault = type == EventTypes.Coalesced
            ? CoalescedWrites.TryPeek(prefix, out first, out firstLsn)
            : PackedWrites.TryPeek(prefix, out firstLsn);
        return fault == CodecFault.None
            ? new(number, first, time, firstLsn)
            : throw new CorruptionException($"event {number} of a volume's stream", 0, fault.ToString());
    }
}

/// <summary>Finds a place in a stream without an index of it: what grows along a stream is found by looking at few events of
/// it, of several at a time.</summary>
internal static class EventSearch
{
    /// <summary>Events that are looked at together: a search takes a round trip for each power of 16 events.</summary>
    private const int PivotsMax = 15;

    /// <summary>The last event for which something holds that holds for every one before it too.</summary>
    /// <param name="look">The history.</param>
    /// <param name="through">The last event that may be it.</param>
    /// <param name="holds">What.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>Its number; 0 when it holds for none. Above <paramref name="through"/> when that one was coalesced with later
    /// ones.</returns>
    public static async Task<long> LastAsync(
        HistorySnapshot look, long through, Func<EventHead, bool> holds, CancellationToken cancellation)
    {
        var (holding, failing) = (0L, through + 1);
        while (failing - holding > 1)
        {
            var between = failing - holding - 1;
            var count = Math.Min(between, PivotsMax);
            var first = holding;
            var pivots = Enumerable.Range(1, (int)count).Select(i => first + (long)((Int128)between * i / count)).ToArray();
            var heads = await look.HeadsAsync(pivots, cancellation);
            if (heads.Count == 0)
                throw new CorruptionException("a volume's stream", 0, $"it has no event {pivots[0]}");
            foreach (var head in heads)
            {
                if (holds(head))
                {
                    holding = head.Number;
                    continue;
                }

                failing = head.First;
                break;
            }
        }

        return holding;
    }
}
