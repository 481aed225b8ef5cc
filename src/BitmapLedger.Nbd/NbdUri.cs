namespace BitmapLedger.Nbd;

/// <summary>Where a server listens, as an NBD URI says it: <c>nbd://host:port/export</c> or
/// <c>nbd+unix:///export?socket=/path</c>.</summary>
/// <param name="Host">Host of TCP, or null.</param>
/// <param name="Port">Port of TCP.</param>
/// <param name="Socket">Path of the unix socket, or null.</param>
/// <param name="Export">Name of the export; empty for the default one.</param>
public sealed record NbdUri(string? Host, int Port, string? Socket, string Export)
{
    /// <summary>The port that IANA gave to NBD.</summary>
    public const int PortDefault = 10809;

    /// <summary>Reads a URI; <paramref name="fault"/> says what is wrong with it.</summary>
    public static NbdUri? TryParse(string text, out string fault)
    {
        fault = "";
        if (!Uri.TryCreate(text, UriKind.Absolute, out var uri) || uri.Scheme is not ("nbd" or "nbd+unix"))
        {
            fault = $"'{text}' is no NBD URI; write nbd://127.0.0.1:10809 or nbd+unix:///?socket=/path";
            return null;
        }

        var export = Uri.UnescapeDataString(uri.AbsolutePath.TrimStart('/'));
        if (uri.Scheme == "nbd")
            return new(uri.Host, uri.IsDefaultPort || uri.Port < 0 ? PortDefault : uri.Port, null, export);

        var socket = uri.Query.TrimStart('?').Split('&')
            .FirstOrDefault(p => p.StartsWith("socket=", StringComparison.Ordinal))?["socket=".Length..];
        if (!string.IsNullOrEmpty(socket))
            return new(null, 0, Uri.UnescapeDataString(socket), export);
        fault = $"'{text}' names no socket; write nbd+unix:///?socket=/path";
        return null;
    }

    /// <inheritdoc />
    public override string ToString() => Socket is null
        ? $"nbd://{(Host!.Contains(':') ? $"[{Host.Trim('[', ']')}]" : Host)}:{Port}/{Uri.EscapeDataString(Export)}"
        : $"nbd+unix:///{Uri.EscapeDataString(Export)}?socket={Socket.Replace("%", "%25").Replace("&", "%26").Replace(" ", "%20")}";
}
