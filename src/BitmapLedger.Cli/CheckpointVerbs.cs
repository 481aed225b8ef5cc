using System.CommandLine;
using System.Text.Json;
using BitmapLedger.Cli.Rendering;
using BitmapLedger.Contracts;

namespace BitmapLedger.Cli;

/// <summary><c>bml checkpoint …</c>.</summary>
internal static class CheckpointVerbs
{
    public static Command Build(GlobalOptions global)
    {
        var checkpoint = new Command("checkpoint", "Names for places in the history");
        checkpoint.Subcommands.Add(Create(global));
        checkpoint.Subcommands.Add(List(global));
        checkpoint.Subcommands.Add(Delete(global));
        return checkpoint;
    }

    private static Command Create(GlobalOptions global)
    {
        var words = new Argument<string[]>("VOL... NAME") { Description = "Volumes, then the name", Arity = new(2, 1000) };
        var verb = new Command("create", "Names this instant in one or several volumes at once") { words };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var given = parsed.GetValue(words)!;
            var json = await api.PostAsync("v1/checkpoints", new(given[^1], given[..^1]), ApiJson.Default.CreateCheckpointRequest);
            // One volume is the usual case, and then the answer is that of any command.
            if (given.Length > 2)
                return Changes.PrintMany(session, json);
            var only = JsonSerializer.Deserialize(json, ApiJson.Default.CommandsAnswer)!.Volumes[0];
            return Changes.Print(session, JsonSerializer.Serialize(only, ApiJson.Wire.CommandAnswer));
        });
        return verb;
    }

    private static Command List(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var verb = new Command("list", "The checkpoints of a volume, oldest first") { volume };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var json = await api.GetAsync(Arguments.Path("volumes", parsed.GetValue(volume)!, "checkpoints"));
            session.Print(
                json, () => session.Print(AnswerText.Checkpoints(JsonSerializer.Deserialize(json, ApiJson.Default.CheckpointsAnswer)!)),
                "checkpoints");
            return ExitCode.Ok;
        });
        return verb;
    }

    private static Command Delete(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var name = Arguments.Name();
        var verb = new Command("delete", "Forgets the name; no change since an older checkpoint is lost") { volume, name };
        global.Handle(verb, async (parsed, session, api) =>
        {
            return Changes.Print(
                session, await api.DeleteAsync(Arguments.Path("volumes", parsed.GetValue(volume)!, "checkpoints", parsed.GetValue(name)!)));
        });
        return verb;
    }
}
