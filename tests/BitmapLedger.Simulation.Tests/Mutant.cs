namespace BitmapLedger.Simulation.Tests;

/// <summary>
/// What a mistake in the product would look like from the disk, from the client or from the ledger. Each of them must
/// be
/// caught: that is the test of the test.
/// </summary>
public enum Mutant
{
    None,

    /// <summary>Syncs of segments do nothing.</summary>
    SkipJournalSync,

    /// <summary>Syncs of the activity log do nothing.</summary>
    SkipActivitySync,

    /// <summary>What goes on from a journal that is set aside is copied and not synced.</summary>
    SkipCopySync,

    /// <summary>Syncs of the directory do nothing.</summary>
    SkipDirectorySync,

    /// <summary>Flushes of the data do nothing, so that it is believed durable.</summary>
    SkipDataFlush,

    /// <summary>A region of the activity log counts as clean as soon as its writes have ended, and gives way to another one
    /// before they are durable.</summary>
    EvictTooEarly,

    /// <summary>A failed sync is tried again and then believed.</summary>
    BelieveFailedSync,

    /// <summary>The data goes out before the mark, the record and the region.</summary>
    MarkAfterWrite,

    /// <summary>The activity log is written after the data.</summary>
    ActivityAfterData,

    /// <summary>A rotation does not wait for the writers inside.</summary>
    DropDrain,

    /// <summary>A block of writes is shipped twice.</summary>
    ShipTwice,

    /// <summary>Records are shipped before they are durable.</summary>
    ShipUnsynced,

    /// <summary>The journal is told that more is shipped than is.</summary>
    FreeTooEarly,

    /// <summary>The ceiling of LSNs is forgotten.</summary>
    ForgetCeiling,

    /// <summary>The ledger does not record what a recovery found.</summary>
    ForgetRecovered,

    /// <summary>A clean stop leaves the data unflushed.</summary>
    CloseUnflushed,

    /// <summary>Nobody tidies: regions stay for ever, and marks are not written.</summary>
    ForgetTidying,

    /// <summary>Synced records that read back as zeroes pass for void.</summary>
    BelieveZeroes,

    /// <summary>A damaged activity log passes for an empty one.</summary>
    ForgetDamagedActivity,

    /// <summary>A damaged file of what a recovery found passes for nothing found.</summary>
    ForgetDamagedRecovered,

    /// <summary>A damaged note of flushes passes for one that says that all is well.</summary>
    ForgetDamagedFlush,
}
