using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain;

namespace BitmapLedger.Ledger.Shipping;

/// <summary>Writes as an event carries them.</summary>
internal static class WriteBlock
{
    /// <summary>Packs writes; LSNs that the journal passed over are voids.</summary>
    /// <param name="writes">Ascending by LSN; at least one.</param>
    /// <param name="firstLsn">The LSN that is due next in the stream; not above that of the first write.</param>
    /// <param name="names">Names of connections.</param>
    public static WritesRecorded Of(
        ReadOnlySpan<SingleWrite> writes, long firstLsn, IReadOnlyDictionary<int, string> names)
    {
        List<LsnRange> voids = [];
        HashSet<int> connections = [];
        var connection = -1;
        foreach (var write in writes)
        {
            if (write.Lsn > firstLsn)
                voids.Add(new(firstLsn, write.Lsn - 1));
            firstLsn = write.Lsn + 1;
            if (write.Connection != connection)
                connections.Add(connection = write.Connection);
        }

        ConnectionName[] known =
            [.. connections.Where(names.ContainsKey).Order().Select(c => new ConnectionName(c, names[c]))];
        _ = PackedWrites.TryRead(PackedWrites.Encode(writes, known, voids), out var packed);
        return new(packed!);
    }
}
