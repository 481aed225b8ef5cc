namespace BitmapLedger.Ledger.Storing;

/// <summary>What the ledger is told when it starts.</summary>
/// <param name="DataDirectory">The data directory.</param>
/// <param name="JournalQuotaBytes">Most bytes that the journal of a volume may take.</param>
/// <param name="OwnCluster">Whether PostgreSQL is ours, so that its schema is made and patched without asking.</param>
public sealed record LedgerSettings(string DataDirectory, long JournalQuotaBytes, bool OwnCluster)
{
    /// <summary>Socket on which the Agent is controlled.</summary>
    public string ControlSocket => Path.Combine(DataDirectory, "run", "control.sock");

    /// <summary>Where bits for the Agent are put down.</summary>
    public string BitsDirectory => Path.Combine(DataDirectory, "run", "bits");

    /// <summary>Directory of all journals.</summary>
    public string Journals => Path.Combine(DataDirectory, "journal");

    /// <summary>Directory of a volume's journal.</summary>
    public string Journal(Guid volumeId) => Path.Combine(Journals, volumeId.ToString("D"));
}
