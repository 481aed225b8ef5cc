using System.CommandLine;
using BitmapLedger.Contracts;

namespace BitmapLedger.Cli;

/// <summary>Options that every verb takes: flag over variable over default.</summary>
internal sealed class GlobalOptions
{
    public Option<string> DataDirectory { get; } = new("--data-dir")
    {
        Description = "The data directory (default $BITMAPLEDGER_HOME, else ~/.local/share/bitmapledger)",
        Recursive = true,
        DefaultValueFactory = _ => Environment.GetEnvironmentVariable("BITMAPLEDGER_HOME") is { Length: > 0 } home
            ? home
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".local", "share", "bitmapledger"),
    };

    public Option<bool> Json { get; } = new("--json") { Description = "One JSON document on stdout", Recursive = true };

    public Option<bool> JsonLines { get; } = new("--jsonl") { Description = "One JSON object a line, for streams", Recursive = true };

    public Option<bool> Quiet { get; } = new("--quiet") { Description = "Results only", Recursive = true };

    public Option<bool> NoColor { get; } = new("--no-color") { Description = "No colors (also NO_COLOR)", Recursive = true };

    public Option<string> Progress { get; } = new("--progress")
    {
        Description = "auto, none, json or fd:N",
        Recursive = true,
        DefaultValueFactory = _ => "auto",
    };

    public Option<string?> CommandId { get; } = new("--command-id")
    {
        Description = "Id of the command: sent twice it acts once",
        Recursive = true,
    };

    public void AddTo(RootCommand root)
    {
        foreach (Option option in new Option[] { DataDirectory, Json, JsonLines, Quiet, NoColor, Progress, CommandId })
            root.Options.Add(option);
    }

    /// <summary>What a verb does that asks the server.</summary>
    public void Handle(Command verb, Func<ParseResult, Session, ApiClient, Task<int>> act) =>
        verb.SetAction(async (parsed, cancellation) =>
        {
            var session = Open(parsed, cancellation);
            using var api = session.Connect();
            return await act(parsed, session, api);
        });

    public Session Open(ParseResult parsed, CancellationToken cancellation)
    {
        var path = parsed.GetValue(DataDirectory);
        if (string.IsNullOrEmpty(path) || path.Contains('\0'))
            throw new CliException(ErrorCode.BadArgument, $"'{path}' is no data directory", "name one with --data-dir DIR");
        var quiet = parsed.GetValue(Quiet);
        return new(
            Hosting.DataDirectory.At(path), parsed.GetValue(Json), parsed.GetValue(JsonLines), quiet, parsed.GetValue(CommandId))
        {
            Style = new(!parsed.GetValue(NoColor) && !Console.IsOutputRedirected),
            Progress = ProgressTarget.Of(parsed.GetValue(Progress)!, quiet),
            Cancellation = cancellation,
        };
    }
}
