using System.CommandLine;
using System.Text.Json;
using BitmapLedger.Cli.Rendering;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Cli;

/// <summary><c>bml bitmap …</c> and <c>bml checkpoint …</c>.</summary>
internal static class BitmapVerbs
{
    public static Command Bitmap(GlobalOptions global)
    {
        var bitmap = new Command("bitmap", "Dirty bitmaps, as QEMU has them");
        bitmap.Subcommands.Add(Add(global));
        bitmap.Subcommands.Add(One(global, "remove", "Removes a bitmap", (api, path) => api.DeleteAsync(path)));
        bitmap.Subcommands.Add(One(global, "clear", "Empties a bitmap", (api, path) => api.PostAsync(path + "/clear")));
        bitmap.Subcommands.Add(One(global, "enable", "Lets a bitmap record", (api, path) => Record(api, path, true)));
        bitmap.Subcommands.Add(One(global, "disable", "Stops a bitmap from recording", (api, path) => Record(api, path, false)));
        bitmap.Subcommands.Add(List(global));
        bitmap.Subcommands.Add(Show(global));
        return bitmap;
    }

    public static Command Checkpoint(GlobalOptions global)
    {
        var checkpoint = new Command("checkpoint", "Names for places in the history");
        checkpoint.Subcommands.Add(CreateCheckpoint(global));
        checkpoint.Subcommands.Add(ListCheckpoints(global));
        checkpoint.Subcommands.Add(DeleteCheckpoint(global));
        return checkpoint;
    }

    private static Task<string> Record(ApiClient api, string path, bool recording) =>
        api.PatchAsync(path, new(recording), ApiJson.Default.ChangeBitmapRequest);

    private static Command Add(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var name = Arguments.Name();
        var granularity = Arguments.Text("--granularity", "Bytes a bit, a power of two from 512 (default 64K)");
        var disabled = Arguments.Flag("--disabled", "Starts without recording");
        var transient = Arguments.Flag("--transient", "Ends when the agent ends");
        var verb = new Command("add", "Adds an empty bitmap that records") { volume, name, granularity, disabled, transient };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var body = new AddBitmapRequest(
                parsed.GetValue(name), Arguments.Size(parsed.GetValue(granularity)), parsed.GetValue(disabled), parsed.GetValue(transient));
            return Changes.Print(
                session, await api.PostAsync(Arguments.Path("volumes", parsed.GetValue(volume)!, "bitmaps"), body, ApiJson.Default.AddBitmapRequest));
        });
        return verb;
    }

    private static Command One(GlobalOptions global, string name, string description, Func<ApiClient, string, Task<string>> send)
    {
        var volume = Arguments.Volume();
        var bitmap = Arguments.Name();
        var verb = new Command(name, description) { volume, bitmap };
        global.Handle(verb, async (parsed, session, api) =>
        {
            return Changes.Print(
                session, await send(api, Arguments.Path("volumes", parsed.GetValue(volume)!, "bitmaps", parsed.GetValue(bitmap)!)));
        });
        return verb;
    }

    private static Command List(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var verb = new Command("list", "The bitmaps of a volume, newest first") { volume };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var json = await api.GetAsync(Arguments.Path("volumes", parsed.GetValue(volume)!, "bitmaps"));
            session.Print(json, () => Table(JsonSerializer.Deserialize(json, ApiJson.Default.BitmapsAnswer)!.Bitmaps));
            return ExitCode.Ok;
        });
        return verb;
    }

    private static Command Show(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var name = Arguments.Name();
        var verb = new Command("show", "One bitmap, with its digest") { volume, name };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var json = await api.GetAsync(Arguments.Path("volumes", parsed.GetValue(volume)!, "bitmaps", parsed.GetValue(name)!));
            session.Print(json, () => Table([JsonSerializer.Deserialize(json, ApiJson.Default.BitmapAnswer)!]));
            return ExitCode.Ok;
        });
        return verb;
    }

    private static void Table(IReadOnlyList<BitmapAnswer> bitmaps)
    {
        var table = new TextTable("NAME", "GRANULARITY", "RECORDING", "PERSISTENT", "DIRTY", "SHA256");
        foreach (var b in bitmaps)
            table.Add(
                b.Name, ByteSize.Show(b.Granularity), b.Recording ? "yes" : "no", b.Persistent ? "yes" : "no", ByteSize.Show(b.Count), b.Sha256);
        table.Print();
    }

    private static Command CreateCheckpoint(GlobalOptions global)
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
            return Changes.Print(session, JsonSerializer.Serialize(only, ApiJson.Default.CommandAnswer));
        });
        return verb;
    }

    private static Command ListCheckpoints(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var verb = new Command("list", "The checkpoints of a volume, oldest first") { volume };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var json = await api.GetAsync(Arguments.Path("volumes", parsed.GetValue(volume)!, "checkpoints"));
            session.Print(json, () =>
            {
                var table = new TextTable("NAME", "PARENT", "EVENT", "LSN", "TIME");
                foreach (var c in JsonSerializer.Deserialize(json, ApiJson.Default.CheckpointsAnswer)!.Checkpoints)
                    table.Add(c.Name, c.Parent ?? "-", $"{c.At.Event}", $"{c.At.Lsn}", c.At.Time);
                table.Print();
            });
            return ExitCode.Ok;
        });
        return verb;
    }

    private static Command DeleteCheckpoint(GlobalOptions global)
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
