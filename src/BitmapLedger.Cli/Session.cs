using BitmapLedger.Cli.Rendering;
using BitmapLedger.Hosting;

namespace BitmapLedger.Cli;

/// <summary>One run of the program: what was asked for, and where results go.</summary>
internal sealed record Session(DataDirectory Directory, bool Json, bool JsonLines, bool Quiet, string? CommandId)
{
    /// <summary>Results, and nothing else.</summary>
    public TextWriter Out { get; init; } = Console.Out;

    /// <summary>How results look.</summary>
    public required Style Style { get; init; }

    /// <summary>Where word of long work goes.</summary>
    public required ProgressTarget Progress { get; init; }

    /// <summary>Ends when the user interrupts.</summary>
    public CancellationToken Cancellation { get; init; }

    public ApiClient Connect() => new(Directory, CommandId, Cancellation);

    /// <summary>Prints the server's document as it came, its elements a line each, or what a person reads.</summary>
    public void Print(string json, Action text, params IReadOnlyList<string> lists)
    {
        if (JsonLines)
            Contracts.JsonLines.Write(Out, json, lists);
        else if (Json)
            Out.WriteLine(json);
        else
            text();
    }

    public void Print(TextTable table) => table.Print(Out, Style);
}
