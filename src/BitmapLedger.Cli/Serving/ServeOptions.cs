namespace BitmapLedger.Cli.Serving;

/// <summary>What <c>bml serve</c> was told.</summary>
internal sealed record ServeOptions(
    IReadOnlyList<(
        string Name,
        string Backend)> Volumes, IReadOnlyList<string> Nbd, string? Qmp, string Http, string? Database, long? JournalQuota, bool ExternalAgent);
