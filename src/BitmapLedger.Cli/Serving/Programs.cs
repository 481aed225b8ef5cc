namespace BitmapLedger.Cli.Serving;

/// <summary>The other programs: they lie beside this one.</summary>
internal static class Programs
{
    private static string Home => Environment.GetEnvironmentVariable(
        "BITMAPLEDGER_BIN") is { Length: > 0 } bin ? bin : AppContext.BaseDirectory;

    public static string Agent => Path.Combine(Home, "bml-agent");

    public static string Server => Path.Combine(Home, "server", "bml-server");
}
