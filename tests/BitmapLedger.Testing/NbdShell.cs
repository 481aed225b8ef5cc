namespace BitmapLedger.Testing;

/// <summary>libnbd's own shell, a Python with a connected handle <c>h</c>.</summary>
public static class NbdShell
{
    public static ToolResult Run(string uri, string script) => Tool.Run("nbdsh", "-u", uri, "-c", script).Expect();

    /// <summary>Writes each of <paramref name="writes"/>, in order, each one acknowledged before the next.</summary>
    public static void Write(string uri, IEnumerable<(long Offset, long Length)> writes) =>
        Run(uri, $"""
            for i, (offset, length) in enumerate([{string.Join(',', writes.Select(w => $"({w.Offset},{w.Length})"))}]):
                h.pwrite(bytes([1 + i % 255]) * length, offset)
            """);
}
