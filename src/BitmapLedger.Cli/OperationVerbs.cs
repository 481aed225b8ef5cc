using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using BitmapLedger.Cli.Rendering;
using BitmapLedger.Cli.Serving;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;

namespace BitmapLedger.Cli;

/// <summary>Verification, projections, schema, version.</summary>
internal static class OperationVerbs
{
    public static IEnumerable<Command> Build(GlobalOptions global) =>
        [Verify(global), Check(global), Repair(global), Projection(global), Database(global), Version(global)];

    private static Command Verify(GlobalOptions global)
    {
        var volume = new Argument<string?>("VOL") { Description = "Name of the volume (default: all)", Arity = ArgumentArity.ZeroOrOne };
        var at = Arguments.Text("--at", "A point (default now)");
        var verb = new Command("verify", "Compares live, projected and replayed bits by digest") { volume, at };
        global.Handle(verb, async (parsed, session, api) =>
        {
            IEnumerable<string> names = parsed.GetValue(volume) is { } one
                ? [one]
                : JsonSerializer.Deserialize(await api.GetAsync("v1/volumes"), ApiJson.Default.VolumesAnswer)!.Volumes.Select(v => v.Name);
            var equal = true;
            foreach (var name in names)
            {
                var json = await api.PostAsync("v1/verify", new(name, Arguments.PointText(parsed.GetValue(at))), ApiJson.Default.VerifyRequest);
                var answer = JsonSerializer.Deserialize(json, ApiJson.Default.VerifyAnswer)!;
                equal &= answer.Equal;
                session.Print(json, () => Print(answer));
            }

            return equal ? ExitCode.Ok : ExitCode.No;
        });
        return verb;
    }

    private static Command Check(GlobalOptions global)
    {
        var verb = new Command("check", "Reads everything: journals, streams, checksums");
        global.Handle(verb, async (parsed, session, api) =>
        {
            var json = await api.GetAsync("v1/check");
            var answer = JsonSerializer.Deserialize(json, ApiJson.Default.CheckAnswer)!;
            session.Print(json, () =>
            {
                foreach (var v in answer.Volumes)
                {
                    Console.Out.WriteLine(
                        $"{v.Volume}: {v.Events} events with {v.Writes} writes, {v.JournalSegments} journal segments with {v.JournalWrites}: " +
                        (v.Damage.Count == 0 ? "whole" : "damaged"));
                    foreach (var damage in v.Damage)
                        Console.Out.WriteLine($"  {damage}");
                }
            });
            return answer.Ok ? ExitCode.Ok : ExitCode.No;
        });
        return verb;
    }

    private static Command Repair(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var verb = new Command(
            "repair", "Goes on behind a damaged stretch of a volume's journal: the stretch counts as all written") { volume };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var json = await api.PostAsync(Arguments.Path("volumes", parsed.GetValue(volume)!, "repair"));
            session.Print(json, () => Print(JsonSerializer.Deserialize(json, ApiJson.Default.RepairAnswer)!));
            return ExitCode.Ok;
        });
        return verb;
    }

    private static Command Projection(GlobalOptions global)
    {
        var projection = new Command("projection", "What is derived from the events");
        var status = new Command("status", "How far each projection is");
        global.Handle(status, async (parsed, session, api) =>
        {
            return Print(session, await api.GetAsync("v1/projections"));
        });
        var name = new Argument<string>("NAME") { Description = "Its name", DefaultValueFactory = _ => "bitmap-bits" };
        var rebuild = new Command("rebuild", "Drops a projection and builds it again while writes go on") { name };
        global.Handle(rebuild, async (parsed, session, api) =>
        {
            return Print(session, await api.PostAsync(Arguments.Path("projections", parsed.GetValue(name)!, "rebuild")));
        });
        projection.Subcommands.Add(status);
        projection.Subcommands.Add(rebuild);
        return projection;
    }

    private static Command Database(GlobalOptions global)
    {
        var db = new Command("db", "The schema in PostgreSQL");
        foreach (var (name, description) in new[]
        {
            ("status", "Compares the schema with what this version needs"), ("apply", "Creates or patches the schema"),
            ("dump", "Prints the schema as SQL"),
        })
        {
            var database = Arguments.Text("--database", "Connection string (default $BITMAPLEDGER_DATABASE, else the embedded cluster)");
            var output = Arguments.Text("--output", "dump: a file instead of stdout");
            var verb = new Command(name, description) { database, output };
            verb.SetAction((parsed, cancellation) =>
                SchemaVerbs.RunAsync(global.Open(parsed), name, parsed.GetValue(database), parsed.GetValue(output), cancellation));
            db.Subcommands.Add(verb);
        }

        return db;
    }

    private static Command Version(GlobalOptions global)
    {
        var verb = new Command("version", "The version of all programs");
        verb.SetAction(parsed =>
        {
            global.Open(parsed).Print(
                JsonSerializer.Serialize(new VersionAnswer(ProgramVersion.Text), ApiJson.Default.VersionAnswer),
                () => Console.Out.WriteLine($"bml {ProgramVersion.Text}"));
            return ExitCode.Ok;
        });
        return verb;
    }

    private static int Print(Session session, string json)
    {
        session.Print(json, () =>
        {
            var table = new TextTable("NAME", "LIFECYCLE", "SEQUENCE", "BEHIND");
            foreach (var p in JsonSerializer.Deserialize(json, ApiJson.Default.ProjectionsAnswer)!.Projections)
                table.Add(p.Name, p.Lifecycle, $"{p.Sequence}", $"{p.Behind}");
            table.Print();
        });
        return ExitCode.Ok;
    }

    private static void Print(RepairAnswer answer)
    {
        if (!answer.Repaired)
        {
            Console.Out.WriteLine($"{answer.Volume}: its journal is whole; nothing to repair");
            return;
        }

        foreach (var gap in answer.Damage)
            Console.Out.WriteLine(
                $"{answer.Volume}: {gap.File}, byte {gap.Byte}: {gap.Fault}; " +
                $"writes after lsn {gap.FromLsn} up to {gap.ToLsn?.ToString(CultureInfo.InvariantCulture) ?? "the end"} are lost");
        Console.Out.WriteLine(
            $"{answer.Volume}: event {answer.Event}, goes on after lsn {answer.Lsn}; the damaged journal lies in {answer.SetAside}");
    }

    private static void Print(VerifyAnswer answer)
    {
        var verdict = answer.Equal ? "equal" : $"different from event {answer.FirstDifference} on";
        Console.Out.WriteLine($"{answer.Volume} at event {answer.At.Event}, lsn {answer.At.Lsn}: {verdict}");
        var table = new TextTable("NAME", "LIVE", "PROJECTED", "REPLAYED");
        foreach (var b in answer.Bitmaps)
            table.Add(b.Name, b.Live ?? "-", b.Projected, b.Replayed);
        table.Print();
    }
}
