namespace BitmapLedger.Cli;

/// <summary>The version of all programs: they are built and released together.</summary>
internal static class ProgramVersion
{
    public static string Text { get; } = typeof(
        ProgramVersion).Assembly.GetName().Version is { } v ? $"{v.Major}.{v.Minor}.{v.Build}" : "0";
}
