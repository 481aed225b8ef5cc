namespace BitmapLedger.Agent;

/// <summary>Says which process this is; replaced whole.</summary>
internal static class PidFile
{
    public static void Write(string path)
    {
        File.WriteAllText(path + ".next", $"{Environment.ProcessId}\n");
        File.Move(path + ".next", path, overwrite: true);
    }
}
