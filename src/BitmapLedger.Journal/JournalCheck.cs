using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>What a walk over a whole journal found.</summary>
/// <param name="Segments">Segments in use.</param>
/// <param name="Writes">Records of writes.</param>
/// <param name="OldestLsn">LSN of the oldest write that may be there.</param>
/// <param name="LastLsn">LSN of the last write.</param>
/// <param name="Damage">Each damaged place; empty when all is well.</param>
public sealed record JournalCheck(
    int Segments, long Writes, long OldestLsn, long LastLsn, IReadOnlyList<CorruptionException> Damage)
{
    /// <summary>Walks a journal. Its writer may go on: what is under way at the end is no damage.</summary>
    public static JournalCheck Walk(string directory, Guid volumeId)
    {
        List<CorruptionException> damage = [];
        List<SegmentHeader> headers = [];
        try
        {
            headers = SegmentFiles.Headers(PosixDisk.Instance, directory, volumeId);
        }
        catch (CorruptionException found)
        {
            damage.Add(found);
        }

        var lsn = headers.Count > 0 ? headers[0].LastLsn : 0;
        var oldest = lsn + 1;
        var writes = 0L;
        foreach (var (header, limit) in headers.Zip(SegmentFiles.Limits(headers)))
        {
            try
            {
                lsn = Math.Max(lsn, Math.Min(header.LastLsn, limit));
                var path = SegmentFiles.PathOf(directory, header.Number);
                SegmentScan.Read(
                    PosixDisk.Instance, path, header, limit, ref lsn, (r, _) => writes += r.IsWrite ? 1 : 0);
            }
            catch (CorruptionException found)
            {
                damage.Add(found);
            }
            catch (FileNotFoundException)
            {
                // The writer freed it meanwhile.
            }
        }

        return new(headers.Count, writes, oldest, lsn, damage);
    }
}
