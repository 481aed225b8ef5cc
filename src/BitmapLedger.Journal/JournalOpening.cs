using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>
/// What opening a journal comes to. Nothing was unsafe after a clean stop; a killed process has lost nothing either,
/// but what it
/// had not synced is not on the disk yet; after a power loss, or when the disk had refused to make something durable,
/// what may
/// have been written or may have reverted is found and kept until the ledger has it.
/// </summary>
/// <param name="Boot">Open in this boot.</param>
/// <param name="Ceiling">LSNs that may be given.</param>
/// <param name="Found">What the segments hold.</param>
/// <param name="LastLsn">LSNs go on above this.</param>
/// <param name="Marks">How far journal and data are durable.</param>
/// <param name="RewriteAbove">Records above this LSN must be written again before they count as durable; null when
/// none need be.</param>
/// <param name="IsPartial">Whether records may be missing anywhere in the segments.</param>
/// <param name="Recovered">What the ledger must be told; empty when nothing.</param>
/// <param name="Activity">The activity log; null under durability <c>process</c>.</param>
/// <param name="Flush">What is noted of flushes.</param>
internal sealed record JournalOpening(
    BootState Boot, LsnCeiling Ceiling, JournalRecovery Found, long LastLsn, DurableMarks Marks, long? RewriteAbove,
    bool IsPartial, IReadOnlyList<Extent> Recovered, ActivityLog? Activity, FlushNote Flush)
{
    /// <summary>A file of this name says that the segments were set aside by hand.</summary>
    public const string SetAsideMark = "aside";

    /// <summary>Each step is durable before the next one relies on it: a crash at any point opens again the same
    /// way.</summary>
    public static JournalOpening Run(JournalOptions options)
    {
        options.Disk.CreateDirectory(options.Directory);
        var power = options.Durability == JournalDurability.Power;
        var boot = BootState.Read(options.Disk, options.Directory, options.BootId, options.Mounts);
        var ceiling = LsnCeiling.Read(options.Disk, options.Directory, options.LsnsAhead);
        var used = boot.Exists || SegmentFiles.Headers(options.Disk, options.Directory, options.VolumeId).Count > 0;
        var wentDown = used && !boot.WasClosed && !boot.IsSameBoot;
        var killed = used && !boot.WasClosed && boot.IsSameBoot;
        // Set aside, and what said how the last run ended was damaged too.
        var unknown = !used && options.Disk.Names(options.Directory).Contains(SetAsideMark);
        var suspect = unknown || (boot.IsSuspect && !boot.WasClosed) || (killed && FlushNote.HasFailed(options));
        if (suspect)
            ShowWhatIsOnDisk(options);
        // Under durability `process` all of it is told as lost then, and until it is nobody cares what is missing.
        var isPartial = !power && (wentDown || suspect || boot.Loss is LossReason.MachineWentDown or LossReason.NotDurable);
        var found = JournalRecovery.Read(options, isPartial);
        RequireEnd(options, boot, found);
        // Marks lag behind: what was durable or told when the journal was opened last is not told once more.
        found = found with { Marks = found.Marks.Max(new(0, boot.SettledLsn)) };
        // Records that are gone although only a process ended: a sync had failed, and nobody was left to say so.
        if (power && killed && !suspect && found.HasOpenHole)
        {
            suspect = true;
            ShowWhatIsOnDisk(options);
        }

        var lastLsn = Math.Max(Math.Max(found.LastLsn, boot.FloorLsn), options.MinLsn);
        if (wentDown || suspect)
            lastLsn = Math.Max(lastLsn, ceiling.Value);
        // LSNs that are passed over are void: only the next header can say that.
        found = found with { IsSealed = found.IsSealed || isPartial || lastLsn != found.LastLsn };

        IReadOnlyList<Extent>? active = power ? ActivityFile.Read(options.Disk, options.Directory, options.VolumeId) : [];
        // A damaged journal was set aside: nobody knows any more what was under way.
        if ((wentDown || suspect) && found.Segments.Count == 0 && options.Disk.Names(options.Directory).Contains(SetAsideMark))
            active = null;
        var inexact = power && (wentDown || suspect || active is null);
        var untold = RecoveredWrites.Read(options.Disk, options.Directory);
        var recovered = inexact ? RecoveredWrites.Find(options, untold, active, found) : untold;
        if (inexact && recovered.Count > 0)
            RecoveredWrites.Write(options, recovered);

        // While the machine stays up nothing has become durable, told or not.
        var marks = killed ? found.Marks : new DurableMarks(lastLsn, lastLsn);
        var activity = power ? ActivityLog.Open(options, killed ? active ?? [] : [], lastLsn) : null;
        FlushNote? flush = null;
        try
        {
            // What a power loss leaves of a note goes before anybody can be killed in this boot, and be asked for his.
            if (!killed)
                flush = FlushNote.Open(options);
            var unsure = !power && (unknown || IsUnsure(boot, suspect));
            var loss = Loss(options, boot, wentDown, suspect, unknown);
            boot.Open(
                loss, lastLsn, marks.DataLsn, unsure, loss != LossReason.None || inexact ? Here(options, found, lastLsn) : null,
                isMore: boot.Loss != LossReason.None || untold.Count > 0);
            flush ??= FlushNote.Open(options);
        }
        catch
        {
            flush?.Dispose();
            activity?.Dispose();
            throw;
        }

        return new(
            boot, ceiling, found, lastLsn, marks, power && (killed || wentDown) ? found.Marks.JournalLsn : null, isPartial,
            recovered, activity, flush);
    }

    /// <summary>What was durable when the journal was closed cannot be gone; where no segment is left, the ledger sees
    /// it.</summary>
    private static void RequireEnd(JournalOptions options, BootState boot, JournalRecovery found)
    {
        if (boot.StoredLsn <= found.LastLsn || found.Segments.Count == 0)
            return;
        var path = SegmentFiles.PathOf(options.Directory, found.Segments[^1].Number);
        throw new CorruptionException(path, found.EndBytes, SegmentHole.RecordsGone);
    }

    /// <summary>Before what is found is told: from then on nothing goes back any more, however often this is tried.</summary>
    private static void ShowWhatIsOnDisk(JournalOptions options)
    {
        _ = FlushNote.HasForgotten(options);
        options.Data?.ForgetUnwritten();
    }

    /// <summary>Under durability <c>process</c> nothing is written again: what the disk refused it may still lack at a clean stop.</summary>
    private static bool IsUnsure(BootState boot, bool suspect) => boot.IsSameBoot && (boot.IsUnsure || suspect);

    private static LossPlace Here(JournalOptions options, JournalRecovery found, long lastLsn) =>
        new(lastLsn, new MonotoneClock(options.Clock, found.TimeMicroseconds).Next());

    private static LossReason Loss(JournalOptions options, BootState boot, bool wentDown, bool suspect, bool unknown)
    {
        if (boot.WasClosed && boot.Identity.IsOtherThan(options.Identity))
            return LossReason.ChangedWhileClosed;
        if (options.Durability == JournalDurability.Power)
            return LossReason.None;
        if (unknown)
            return LossReason.EndUnknown;
        return wentDown ? LossReason.MachineWentDown : suspect ? LossReason.NotDurable : LossReason.None;
    }
}
