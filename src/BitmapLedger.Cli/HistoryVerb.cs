using System.CommandLine;
using System.Text.Json;
using BitmapLedger.Cli.Rendering;
using BitmapLedger.Contracts;

namespace BitmapLedger.Cli;

/// <summary><c>bml history</c>.</summary>
internal static class HistoryVerb
{
    public static Command Build(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var from = Arguments.Text("--from", "After this point (or FROM..TO in one word)");
        var to = Arguments.Text("--to", "Up to and including this point");
        var types = new Option<string[]>("--type") { Description = "Only events of this type, e.g. CheckpointCreated" };
        var offset = Arguments.Text("--offset", "Only writes that touch this byte or later ones");
        var length = Arguments.Text("--length", "Bytes from --offset on");
        var follow = Arguments.Flag("--follow", "Goes on with what happens from now on, until interrupted");
        var verb = new Command("history", "The events of a volume, newest last") { volume, from, to, types, offset, length, follow };
        global.Handle(verb, (parsed, session, api) =>
        {
            var (first, last) = parsed.GetValue(from) is { } given
                ? QueryVerbs.Range(given, parsed.GetValue(to))
                : (null, Arguments.PointText(parsed.GetValue(to)));
            var follows = parsed.GetValue(follow);
            if (follows && last is not null)
                throw new CliException(ErrorCode.BadArgument, $"--follow has no end, and --to names one: '{last}'", "leave one of them out");
            List<(string, string?)> query =
            [
                ("from", first), ("to", last), ("offset", Arguments.SizeText(parsed.GetValue(offset))),
                ("length", Arguments.SizeText(parsed.GetValue(length))),
                .. (parsed.GetValue(types) ?? []).Select(t => ("type", (string?)t)), .. follows ? [("follow", (string?)"true")] : Nothing,
            ];
            var path = Arguments.Path("volumes", parsed.GetValue(volume)!, "history") + Arguments.Query(query);
            return follows || session.JsonLines ? StreamAsync(session, api, path) : PrintAsync(session, api, path);
        });
        verb.Subcommands.Add(Retain(global));
        return verb;
    }

    private static Command Retain(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var exact = new Option<string>("--exact") { Description = "Age up to which single writes are kept, e.g. 30d", Required = true };
        var coalesced = new Option<string>("--coalesced")
        {
            Description = "Age up to which older ones are kept coalesced, e.g. 1y",
            Required = true,
        };
        var dryRun = Arguments.Flag("--dry-run", "Does nothing, and says what it would free");
        var verb = new Command(
            "retain", "Coalesces old single writes, and makes still older history unreachable") { volume, exact, coalesced, dryRun };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var name = parsed.GetValue(volume)!;
            string json;
            await using (new Progress(session.Progress, $"history retain {name}"))
                json = await api.PostAsync(
                    Arguments.Path("volumes", name, "history", "retain"),
                    new(Arguments.AgeText(parsed.GetValue(exact)!), Arguments.AgeText(parsed.GetValue(coalesced)!), parsed.GetValue(dryRun)),
                    ApiJson.Default.RetainRequest);
            session.Print(json, () => RetentionText.Write(session, JsonSerializer.Deserialize(json, ApiJson.Default.RetainAnswer)!));
            return ExitCode.Ok;
        });
        return verb;
    }

    private static IEnumerable<(string, string?)> Nothing => [];

    private static async Task<int> PrintAsync(Session session, ApiClient api, string path)
    {
        string json;
        await using (new Progress(session.Progress, "history"))
            json = await api.GetAsync(path);
        session.Print(
            json, () => AnswerText.History(session.Out, session.Style, JsonSerializer.Deserialize(json, ApiJson.Default.HistoryAnswer)!), "events");
        return ExitCode.Ok;
    }

    /// <summary>Each event as soon as it is there. What follows has no end to make one document of, so JSON is lines then.</summary>
    private static async Task<int> StreamAsync(Session session, ApiClient api, string path)
    {
        await LineStream.ShowAsync(session, api, path, "history", LineStream.GoOn, line =>
            session.Out.WriteLine(AnswerText.Event(JsonSerializer.Deserialize(line, ApiJson.Default.HistoryEvent)!)));
        return ExitCode.Ok;
    }
}
