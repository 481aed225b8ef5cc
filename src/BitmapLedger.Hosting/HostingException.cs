namespace BitmapLedger.Hosting;

/// <summary>A process or a directory that is needed cannot be had.</summary>
/// <param name="code">Kebab-case code of spec/cli.md.</param>
/// <param name="message">Names the thing, the value and the way out.</param>
/// <param name="inner">What caused it.</param>
public sealed class HostingException(string code, string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Kebab-case code of spec/cli.md.</summary>
    public string Code { get; } = code;
}
