using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.Agent;

/// <summary>What the Agent was started with.</summary>
internal sealed record AgentOptions(
    string DataDirectory, IReadOnlyList<NbdUri> Listeners, long? JournalQuota, Machine Machine)
{
    /// <summary>Where it listens when nobody says where.</summary>
    public NbdUri DefaultListener => new(Host: null, 0, Path.Combine(DataDirectory, "run", "nbd.sock"), "");

    public const string Usage =
        """
        usage: bml-agent --data-dir DIR [--nbd URI]... [--journal-quota BYTES]
        BITMAPLEDGER_BOOT_ID names the boot of the machine instead of the kernel: another one than last time plays a power loss
        """;

    private const string BootIdVariable = "BITMAPLEDGER_BOOT_ID";

    /// <summary>Null with a fault that says what is wrong.</summary>
    public static AgentOptions? TryParse(string[] arguments, out string fault)
    {
        string? dataDirectory = null;
        long? quota = null;
        List<NbdUri> listeners = [];
        fault = "";
        for (var i = 0; i < arguments.Length && fault.Length == 0; i += 2)
        {
            if (i + 1 == arguments.Length)
                fault = $"{arguments[i]} wants a value";
            else if (arguments[i] == "--data-dir")
                dataDirectory = Path.GetFullPath(arguments[i + 1]);
            else if (arguments[i] == "--nbd" && NbdUri.TryParse(arguments[i + 1], out fault) is { } uri)
                listeners.Add(uri);
            else if (arguments[i] == "--journal-quota" && long.TryParse(arguments[i + 1], out var bytes))
                quota = bytes;
            else if (fault.Length == 0)
                fault = $"unknown option '{arguments[i]}', or '{arguments[i + 1]}' is not for it";
        }

        if (fault.Length == 0 && dataDirectory is null)
            fault = "--data-dir is missing";
        if (fault.Length > 0)
            return null;
        var machine = Machine.This();
        var bootId = Environment.GetEnvironmentVariable(BootIdVariable);
        return new(
            dataDirectory!, listeners, quota, bootId is { Length: > 0 } ? machine with { BootId = bootId } : machine);
    }
}
