using System.CommandLine;
using System.Text.Json;
using BitmapLedger.Cli.Rendering;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Cli;

/// <summary>Questions to history.</summary>
internal static class QueryVerbs
{
    public static IEnumerable<Command> Build(GlobalOptions global) => [Changed(global), Replay(global), HistoryVerb.Build(global), Blame(global)];

    private static Command Changed(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var from = new Option<string>("--from") { Description = "After this point (or FROM..TO in one word)", Required = true };
        var to = Arguments.Text("--to", "Up to and including this point (default now)");
        var granularity = Arguments.Text("--granularity", "Rounded outward to this, a power of two from 512 (default 64K)");
        var format = Arguments.Format();
        var map = Arguments.Flag("--map", "In the columns of nbdinfo --map");
        var totals = Arguments.Flag("--totals", "In the columns of nbdinfo --map --totals");
        var strict = Arguments.Flag("--strict", "Exit 3 when the answer is not exact");
        var verb = new Command("changed", "What changed in a range of the history") { volume, from, to, granularity, format, map, totals, strict };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var (first, last) = Range(parsed.GetValue(from)!, parsed.GetValue(to));
            var asMap = parsed.GetValue(map) || parsed.GetValue(totals);
            RefuseMap(asMap, parsed.GetValue(format));
            var path = Arguments.Path("volumes", parsed.GetValue(volume)!, "changed") + Arguments.Query(
                ("from", first), ("to", last), ("granularity", Arguments.SizeText(parsed.GetValue(granularity))),
                ("format", parsed.GetValue(format)));
            if (session.JsonLines && parsed.GetValue(format) != "bitmap")
            {
                var closing = await LineStream.ShowAsync(session, api, path, "answer", LineStream.AskAgain, _ => { });
                var end = JsonSerializer.Deserialize(closing, ApiJson.Default.ChangedAnswer)!;
                return Exactness(parsed.GetValue(strict), end.Exact, end.Gaps);
            }

            string json;
            await using (new Progress(session.Progress, $"changed {parsed.GetValue(volume)}"))
                json = await api.GetAsync(path);
            var answer = JsonSerializer.Deserialize(json, ApiJson.Default.ChangedAnswer)!;
            session.Print(json, () =>
            {
                if (!asMap)
                    AnswerText.Changed(session.Out, session.Style, answer);
                else if (parsed.GetValue(totals))
                    AnswerText.Lines(session.Out, DirtyMap.Totals(answer.Extents ?? [], answer.Size.To));
                else
                    AnswerText.Lines(session.Out, DirtyMap.Lines(answer.Extents ?? [], answer.Size.To));
            }, "extents", "blocks");
            return Exactness(parsed.GetValue(strict), answer.Exact, answer.Gaps);
        });
        return verb;
    }

    private static Command Replay(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var at = new Option<string>("--at") { Description = "The point", Required = true };
        var bitmap = Arguments.Text("--bitmap", "Only this bitmap");
        var format = Arguments.Format();
        var map = Arguments.Flag("--map", "In the columns of nbdinfo --map");
        var strict = Arguments.Flag("--strict", "Exit 3 when the answer is not exact");
        var verb = new Command("replay", "Bitmaps as they were at a point") { volume, at, bitmap, format, map, strict };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var name = parsed.GetValue(volume)!;
            RefuseMap(parsed.GetValue(map), parsed.GetValue(format));
            string json;
            await using (new Progress(session.Progress, $"replay {name}"))
                json = await api.GetAsync(Arguments.Path("volumes", name, "replay") + Arguments.Query(
                    ("at", Arguments.PointText(parsed.GetValue(at))), ("bitmap", parsed.GetValue(bitmap)), ("format", parsed.GetValue(format))));
            var answer = JsonSerializer.Deserialize(json, ApiJson.Default.ReplayAnswer)!;
            var size = parsed.GetValue(map)
                ? JsonSerializer.Deserialize(await api.GetAsync(Arguments.Path("volumes", name)), ApiJson.Default.VolumeAnswer)!.Size
                : 0;
            session.Print(
                json, () => AnswerText.Replay(session.Out, session.Style, answer, withBits: parsed.GetValue(format) is not null, size),
                "bitmaps");
            return Exactness(parsed.GetValue(strict), answer.Exact, answer.Gaps);
        });
        return verb;
    }

    private static Command Blame(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var offset = new Option<string>("--offset") { Description = "First byte", Required = true };
        var length = Arguments.Text("--length", "Bytes (default 1)");
        var from = Arguments.Text("--from", "After this point (default start)");
        var to = Arguments.Text("--to", "Up to and including this point (default now)");
        var limit = Arguments.Text("--limit", "Most writes (default 100)");
        var strict = Arguments.Flag("--strict", "Exit 3 when the answer is not exact");
        var verb = new Command("blame", "The single writes that touched these bytes, newest first")
        {
            volume, offset, length, from, to, limit, strict,
        };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var path = Arguments.Path("volumes", parsed.GetValue(volume)!, "blame") + Arguments.Query(
                ("offset", Arguments.SizeText(parsed.GetValue(offset))), ("length", Arguments.SizeText(parsed.GetValue(length))),
                ("from", Arguments.PointText(parsed.GetValue(from))), ("to", Arguments.PointText(parsed.GetValue(to))),
                ("limit", Arguments.Number(parsed.GetValue(limit), "number of writes")));
            if (session.JsonLines)
            {
                var closing = await LineStream.ShowAsync(session, api, path, "blame", LineStream.AskAgain, _ => { });
                var end = JsonSerializer.Deserialize(closing, ApiJson.Default.BlameAnswer)!;
                return Exactness(parsed.GetValue(strict), end.Exact, end.Gaps);
            }

            string json;
            await using (new Progress(session.Progress, $"blame {parsed.GetValue(volume)}"))
                json = await api.GetAsync(path);
            var answer = JsonSerializer.Deserialize(json, ApiJson.Default.BlameAnswer)!;
            session.Print(json, () =>
            {
                AnswerText.Gaps(session.Out, answer.Gaps);
                session.Print(AnswerText.Blame(answer));
                if (!answer.Complete)
                    session.Out.WriteLine("there are more; take a larger --limit");
            });
            return Exactness(parsed.GetValue(strict), answer.Exact, answer.Gaps);
        });
        return verb;
    }

    /// <summary>Two options, or both points in one word.</summary>
    internal static (string From, string? To) Range(string from, string? to)
    {
        var (first, last) = PointRange.Split(from, to);
        return (Arguments.PointText(first)!, Arguments.PointText(last));
    }

    private static void RefuseMap(bool asMap, string? format)
    {
        if (asMap && format is not (null or "extents"))
            throw new CliException(ErrorCode.BadArgument, $"a map has extents, not {format}", "leave out --format, or --map and --totals");
    }

    private static int Exactness(bool strict, bool exact, IReadOnlyList<GapAnswer> gaps) =>
        strict && (!exact || gaps.Count > 0) ? ExitCode.Inexact : ExitCode.Ok;
}
