namespace BitmapLedger.Cli;

/// <summary>A failure that the user is told and that decides the exit code.</summary>
internal sealed class CliException(string code, string message, string? hint = null, string? keptFrom = null) : Exception(message)
{
    public string Code { get; } = code;

    public string? Hint { get; } = hint;

    /// <summary>With <c>history-gone</c>: where the kept history begins.</summary>
    public string? KeptFrom { get; } = keptFrom;
}
