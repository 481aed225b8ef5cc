using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using BitmapLedger.Cli.Rendering;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Cli;

/// <summary>Questions to history.</summary>
internal static class QueryVerbs
{
    public static IEnumerable<Command> Build(GlobalOptions global) => [Changed(global), Replay(global), History(global), Blame(global)];

    private static Command Changed(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var from = new Option<string>("--from") { Description = "After this point (or FROM..TO in one word)", Required = true };
        var to = Arguments.Text("--to", "Up to and including this point (default now)");
        var granularity = Arguments.Text("--granularity", "Rounded outward to this, a power of two from 512 (default 64K)");
        var format = Arguments.Text("--format", "extents, blocks or bitmap");
        var map = Arguments.Flag("--map", "In the columns of nbdinfo --map");
        var totals = Arguments.Flag("--totals", "In the columns of nbdinfo --map --totals");
        var strict = Arguments.Flag("--strict", "Exit 3 when the answer is not exact");
        var verb = new Command("changed", "What changed in a range of the history") { volume, from, to, granularity, format, map, totals, strict };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var (first, last) = Range(parsed.GetValue(from)!, parsed.GetValue(to));
            var json = await api.GetAsync(Arguments.Path("volumes", parsed.GetValue(volume)!, "changed") + Arguments.Query(
                ("from", first), ("to", last), ("granularity", Arguments.Size(parsed.GetValue(granularity))?.ToString(CultureInfo.InvariantCulture)),
                ("format", parsed.GetValue(format))));
            var answer = JsonSerializer.Deserialize(json, ApiJson.Default.ChangedAnswer)!;
            session.Print(json, () =>
            {
                var extents = answer.Extents ?? [];
                if (parsed.GetValue(map) || parsed.GetValue(totals))
                    Lines(parsed.GetValue(totals) ? DirtyMap.Totals(extents, answer.Size.To) : DirtyMap.Lines(extents, answer.Size.To));
                else
                    Print(answer);
            });
            return Exactness(parsed.GetValue(strict), answer.Exact, answer.Gaps);
        });
        return verb;
    }

    private static Command Replay(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var at = new Option<string>("--at") { Description = "The point", Required = true };
        var bitmap = Arguments.Text("--bitmap", "Only this bitmap");
        var format = Arguments.Text("--format", "extents, blocks or bitmap");
        var map = Arguments.Flag("--map", "In the columns of nbdinfo --map");
        var strict = Arguments.Flag("--strict", "Exit 3 when the answer is not exact");
        var verb = new Command("replay", "Bitmaps as they were at a point") { volume, at, bitmap, format, map, strict };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var name = parsed.GetValue(volume)!;
            var json = await api.GetAsync(Arguments.Path("volumes", name, "replay") + Arguments.Query(
                ("at", Arguments.PointText(parsed.GetValue(at))), ("bitmap", parsed.GetValue(bitmap)), ("format", parsed.GetValue(format))));
            var answer = JsonSerializer.Deserialize(json, ApiJson.Default.ReplayAnswer)!;
            var size = parsed.GetValue(map)
                ? JsonSerializer.Deserialize(await api.GetAsync(Arguments.Path("volumes", name)), ApiJson.Default.VolumeAnswer)!.Size
                : 0;
            session.Print(json, () => Print(answer, size));
            return Exactness(parsed.GetValue(strict), answer.Exact, answer.Gaps);
        });
        return verb;
    }

    private static Command History(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var from = Arguments.Text("--from", "After this point");
        var to = Arguments.Text("--to", "Up to and including this point");
        var types = new Option<string[]>("--type") { Description = "Only events of this name" };
        var offset = Arguments.Text("--offset", "Only writes that touch bytes from here");
        var length = Arguments.Text("--length", "That many bytes");
        var verb = new Command("history", "The events of a volume, newest last") { volume, from, to, types, offset, length };
        global.Handle(verb, async (parsed, session, api) =>
        {
            List<(string, string?)> query =
            [
                ("from", Arguments.PointText(parsed.GetValue(from))), ("to", Arguments.PointText(parsed.GetValue(to))),
                ("offset", Arguments.Size(parsed.GetValue(offset))?.ToString(CultureInfo.InvariantCulture)),
                ("length", Arguments.Size(parsed.GetValue(length))?.ToString(CultureInfo.InvariantCulture)),
                .. (parsed.GetValue(types) ?? []).Select(t => ("type", (string?)t)),
            ];
            var path = Arguments.Path("volumes", parsed.GetValue(volume)!, "history") + Arguments.Query(query);
            if (session.JsonLines)
            {
                Console.Out.Write(await api.GetLinesAsync(path));
                return ExitCode.Ok;
            }

            var json = await api.GetAsync(path);
            session.Print(json, () => Print(JsonSerializer.Deserialize(json, ApiJson.Default.HistoryAnswer)!));
            return ExitCode.Ok;
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
        var limit = new Option<int?>("--limit") { Description = "Most writes (default 100)" };
        var verb = new Command("blame", "The single writes that touched these bytes, newest first") { volume, offset, length, from, to, limit };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var json = await api.GetAsync(Arguments.Path("volumes", parsed.GetValue(volume)!, "blame") + Arguments.Query(
                ("offset", Arguments.Size(parsed.GetValue(offset))?.ToString(CultureInfo.InvariantCulture)),
                ("length", Arguments.Size(parsed.GetValue(length))?.ToString(CultureInfo.InvariantCulture)),
                ("from", Arguments.PointText(parsed.GetValue(from))), ("to", Arguments.PointText(parsed.GetValue(to))),
                ("limit", parsed.GetValue(limit)?.ToString(CultureInfo.InvariantCulture))));
            session.Print(json, () => Print(JsonSerializer.Deserialize(json, ApiJson.Default.BlameAnswer)!));
            return ExitCode.Ok;
        });
        return verb;
    }

    /// <summary>Two options, or both points in one word.</summary>
    private static (string From, string? To) Range(string from, string? to)
    {
        if (to is null && from.Split("..") is [var first, var last] && Point.TryParse(first, out _) is not null)
            (from, to) = (first, last);
        return (Arguments.PointText(from)!, Arguments.PointText(to));
    }

    private static int Exactness(bool strict, bool exact, IReadOnlyList<GapAnswer> gaps) =>
        strict && (!exact || gaps.Count > 0) ? ExitCode.Inexact : ExitCode.Ok;

    private static void Lines(IEnumerable<string> lines)
    {
        foreach (var line in lines)
            Console.Out.WriteLine(line);
    }

    private static void Print(ChangedAnswer answer)
    {
        Console.Out.WriteLine(
            $"{ByteSize.Show(answer.ChangedBytes)} of {answer.Volume} changed after lsn {answer.From.Lsn} up to lsn {answer.To.Lsn}" +
            $"{(answer.Exact ? "" : ", perhaps less")}");
        foreach (var gap in answer.Gaps)
            Console.Out.WriteLine($"gap after lsn {gap.FromLsn} up to lsn {gap.ToLsn}: {gap.Why}");
        if (answer.Extents is not { Count: > 0 } extents)
            return;
        var table = new TextTable("OFFSET", "LENGTH", "");
        foreach (var extent in extents)
            table.Add($"{extent.Offset}", $"{extent.Length}", ByteSize.Show(extent.Length));
        table.Print();
    }

    private static void Print(ReplayAnswer answer, long mapSize)
    {
        var doubt = answer.Exact ? "" : ", perhaps less is dirty";
        Console.Out.WriteLine($"{answer.Volume} at event {answer.At.Event}, lsn {answer.At.Lsn}, {answer.At.Time}{doubt}");
        foreach (var b in answer.Bitmaps)
        {
            var mode = b.Recording ? "recording" : "disabled";
            Console.Out.WriteLine(
                $"{b.Name}: {ByteSize.Show(b.Count)} dirty at {ByteSize.Show(b.Granularity)}, {mode}, sha256 {b.Sha256}");
            if (mapSize > 0)
                Lines(DirtyMap.Lines(b.Extents ?? [], mapSize));
        }
    }

    private static void Print(HistoryAnswer answer)
    {
        var table = new TextTable("EVENT", "TIME", "TYPE", "LSN", "WRITES", "BYTES", "ACTOR", "WHAT");
        foreach (var e in answer.Events)
            table.Add(
                $"{e.Event}", e.Time, e.Type, e.Lsn.First == e.Lsn.Last ? $"{e.Lsn.Last}" : $"{e.Lsn.First}..{e.Lsn.Last}", $"{e.Writes}",
                e.Bytes is { } bytes ? ByteSize.Show(bytes) : "", e.Actor ?? "",
                e.Data.TryGetProperty("name", out var name) ? name.GetString() ?? "" : "");
        table.Print();
    }

    private static void Print(BlameAnswer answer)
    {
        var table = new TextTable("LSN", "TIME", "KIND", "OFFSET", "LENGTH", "EVENT", "CLIENT", "HELD BY");
        foreach (var w in answer.Writes)
            table.Add($"{w.Lsn}", w.Time, w.Kind, $"{w.Offset}", $"{w.Length}", $"{w.Event}", w.Client, string.Join(' ', w.HeldBy));
        table.Print();
        if (!answer.Complete)
            Console.Out.WriteLine("there are more; take a larger --limit");
    }
}
