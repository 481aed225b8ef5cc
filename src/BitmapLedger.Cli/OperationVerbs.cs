using System.CommandLine;
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
            var point = Arguments.PointText(parsed.GetValue(at));
            return parsed.GetValue(volume) is { } one
                ? await VerifyOneAsync(session, api, one, point)
                : await VerifyAllAsync(session, api, point);
        });
        return verb;
    }

    private static async Task<int> VerifyOneAsync(Session session, ApiClient api, string volume, string? at)
    {
        string json;
        await using (new Progress(session.Progress, $"verify {volume}"))
            json = await api.PostAsync("v1/verify", new(volume, at), ApiJson.Default.VerifyRequest);
        var answer = JsonSerializer.Deserialize(json, ApiJson.Default.VerifyAnswer)!;
        session.Print(json, () => AnswerText.Verify(session.Out, session.Style, answer));
        return answer.Equal ? ExitCode.Ok : ExitCode.No;
    }

    private static async Task<int> VerifyAllAsync(Session session, ApiClient api, string? at)
    {
        var names = JsonSerializer.Deserialize(await api.GetAsync("v1/volumes"), ApiJson.Default.VolumesAnswer)!.Volumes.Select(v => v.Name).ToList();
        List<VerifyAnswer> answers = [];
        await using (new Progress(session.Progress, "verify", () => Task.FromResult<Measure?>(new(answers.Count, names.Count))))
            foreach (var name in names)
                answers.Add(JsonSerializer.Deserialize(
                    await api.PostAsync("v1/verify", new(name, at), ApiJson.Default.VerifyRequest), ApiJson.Default.VerifyAnswer)!);
        var all = new VerifiedAnswer(answers.TrueForAll(a => a.Equal), answers);
        session.Print(JsonSerializer.Serialize(all, ApiJson.Wire.VerifiedAnswer), () =>
        {
            foreach (var answer in answers)
                AnswerText.Verify(session.Out, session.Style, answer);
        }, "volumes");
        return all.Equal ? ExitCode.Ok : ExitCode.No;
    }

    private static Command Check(GlobalOptions global)
    {
        var verb = new Command("check", "Reads everything: journals, streams, checksums");
        global.Handle(verb, async (parsed, session, api) =>
        {
            string json;
            await using (new Progress(session.Progress, "check"))
                json = await api.GetAsync("v1/check");
            var answer = JsonSerializer.Deserialize(json, ApiJson.Default.CheckAnswer)!;
            session.Print(json, () => AnswerText.Check(session.Out, answer), "volumes");
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
            var name = parsed.GetValue(volume)!;
            string json;
            await using (new Progress(session.Progress, $"repair {name}"))
                json = await api.PostAsync(Arguments.Path("volumes", name, "repair"));
            session.Print(
                json, () => AnswerText.Repair(session.Out, JsonSerializer.Deserialize(json, ApiJson.Default.RepairAnswer)!),
                "damage");
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
        var rebuild = new Command("rebuild", "Builds a projection again, beside the one that answers are made of until then") { name };
        global.Handle(rebuild, async (parsed, session, api) =>
        {
            var which = parsed.GetValue(name)!;
            await using (new Progress(session.Progress, $"rebuild {which}", () => BehindAsync(session, which)))
                return Print(session, await api.PostAsync(Arguments.Path("projections", which, "rebuild")));
        });
        projection.Subcommands.Add(status);
        projection.Subcommands.Add(rebuild);
        projection.Subcommands.Add(StepVerb.Build(global));
        return projection;
    }

    /// <summary>Asked over a connection of its own: that of the rebuild waits for its answer.</summary>
    private static async Task<Measure?> BehindAsync(Session session, string name)
    {
        using var api = session.Connect();
        var projections = JsonSerializer.Deserialize(await api.GetAsync("v1/projections"), ApiJson.Default.ProjectionsAnswer)!.Projections;
        return projections.FirstOrDefault(p => p.Name == name)?.Building is { } at ? new(at.Sequence, at.Sequence + at.Behind) : null;
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
                SchemaVerbs.RunAsync(global.Open(parsed, cancellation), name, parsed.GetValue(database), parsed.GetValue(output), cancellation));
            db.Subcommands.Add(verb);
        }

        return db;
    }

    private static Command Version(GlobalOptions global)
    {
        var verb = new Command("version", "The version of all programs");
        verb.SetAction(parsed =>
        {
            var session = global.Open(parsed, CancellationToken.None);
            session.Print(
                JsonSerializer.Serialize(new VersionAnswer(ProgramVersion.Text), ApiJson.Wire.VersionAnswer),
                () => session.Out.WriteLine($"bml {ProgramVersion.Text}"));
            return ExitCode.Ok;
        });
        return verb;
    }

    private static int Print(Session session, string json)
    {
        session.Print(
            json, () => session.Print(AnswerText.Projections(JsonSerializer.Deserialize(json, ApiJson.Default.ProjectionsAnswer)!)), "projections");
        return ExitCode.Ok;
    }
}
