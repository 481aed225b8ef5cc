using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>
/// What backup jobs make of bitmaps: QEMU's successors. A job that changes its bitmaps is the first one on each of them; those
/// that only read may join it, and the last one to end folds the successor in.
/// </summary>
internal static class BackupFold
{
    public static IReadOnlyList<BitmapState> Apply(VolumeState before, ICommandEvent happened, Position at) => happened switch
    {
        BackupStarted e => [.. before.Bitmaps.Select(b => e.Bitmaps.Contains(b.Name) ? Started(b, e, at) : b)],
        IBackupEnded e when before.Backup(e.Job) is { } job =>
            [.. before.Bitmaps.Select(b => job.Bitmaps.Contains(b.Name) ? Ended(b, job, e, at, before.Size) : b)],
        _ => before.Bitmaps,
    };

    private static BitmapState Started(BitmapState bitmap, BackupStarted e, Position at) => bitmap with
    {
        Jobs = [.. bitmap.Jobs, e.Job],
        Bits = bitmap.Bits.Until(at.Event),
        Successor = bitmap.Successor ?? BitmapFold.Fresh(bitmap, at.Event),
    };

    private static BitmapState Ended(BitmapState bitmap, BackupState job, IBackupEnded e, Position at, long size)
    {
        var successor = bitmap.Successor!;
        var after = bitmap with { Jobs = [.. bitmap.Jobs.Where(j => j != job.Job)] };
        if (job.Changes)
        {
            after = after with { Bits = Left(after, job, e, at.Event, size).With(successor.Until(at.Event)) };
            if (e is BackupCompleted)
                after = after with { Since = job.Started };
            successor = BitmapFold.Fresh(bitmap, at.Event);
        }

        return after.Busy
            ? after with { Successor = successor }
            : after with { Bits = after.Bits.With(successor), Successor = null };
    }

    /// <summary>What the job leaves of the bits that were frozen.</summary>
    private static BitExpression Left(BitmapState bitmap, BackupState job, IBackupEnded e, long number, long size)
    {
        if (e is BackupCompleted)
            return BitExpression.Empty;
        var left = e is BackupFailed failed ? failed.Left : ((BackupCancelled)e).Left;
        if (job.Mode != BackupModes.Always || left is null)
            return bitmap.Bits;
        var given = new BitTerm(new BitOrigin.Given(number, 0), new(left.Granularity));
        return BitExpression.Of(given).Merged(number, left.Granularity, bitmap.Granularity, size);
    }
}
