namespace BitmapLedger.Cli.Rendering;

/// <summary>Colors, where a person sees them and wants them: <c>NO_COLOR</c> and <c>TERM=dumb</c> turn them off.</summary>
/// <param name="wanted">Whether the output is a terminal and no option forbids colors.</param>
internal sealed class Style(bool wanted)
{
    private readonly bool _colors = wanted
        && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR")) && Environment.GetEnvironmentVariable("TERM") != "dumb";

    public string Title(string text) => Escape("1", text);

    public string Fault(string text) => Escape("31", text);

    private string Escape(string code, string text) => _colors ? $"\e[{code}m{text}\e[0m" : text;
}
