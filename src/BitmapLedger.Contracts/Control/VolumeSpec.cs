namespace BitmapLedger.Contracts.Control;

/// <summary>What the Agent needs to know of a volume; also an element of <c>agent/volumes.json</c>.</summary>
/// <param name="Id">Volume id; names its journal directory.</param>
/// <param name="Name">Name of the volume and of its export.</param>
/// <param name="File">Absolute path of the raw file or device.</param>
/// <param name="Size">Size of the export in bytes.</param>
/// <param name="ReadOnly">True when clients may not write.</param>
/// <param name="Durability"><c>process</c> or <c>power</c>.</param>
/// <param name="WhenFull">What a write does when the journal quota is used up: <c>stall</c> or <c>fail</c>.</param>
/// <param name="JournalQuota">Most bytes its journal may take.</param>
/// <param name="MinLsn">The ledger's last LSN: the journal goes on above it even if it was lost.</param>
public sealed record VolumeSpec(
    Guid Id,
    string Name,
    string File,
    long Size,
    bool ReadOnly,
    string Durability,
    string WhenFull,
    long JournalQuota,
    long MinLsn);
