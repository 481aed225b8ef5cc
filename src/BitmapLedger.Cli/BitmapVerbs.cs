using System.CommandLine;
using System.Text.Json;
using BitmapLedger.Cli.Rendering;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;

namespace BitmapLedger.Cli;

/// <summary><c>bml bitmap …</c>.</summary>
internal static class BitmapVerbs
{
    public static Command Build(GlobalOptions global)
    {
        var bitmap = new Command("bitmap", "Dirty bitmaps, as QEMU has them");
        bitmap.Subcommands.Add(Add(global));
        bitmap.Subcommands.Add(One(global, "remove", "Removes a bitmap", (api, path) => api.DeleteAsync(path)));
        bitmap.Subcommands.Add(One(global, "clear", "Empties a bitmap", (api, path) => api.PostAsync(path + "/clear")));
        bitmap.Subcommands.Add(One(global, "enable", "Lets a bitmap record", (api, path) => Record(api, path, true)));
        bitmap.Subcommands.Add(One(global, "disable", "Stops a bitmap from recording", (api, path) => Record(api, path, false)));
        bitmap.Subcommands.Add(Merge(global));
        bitmap.Subcommands.Add(List(global));
        bitmap.Subcommands.Add(Show(global));
        return bitmap;
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

    private static Command Merge(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var target = new Argument<string>("TARGET") { Description = "The bitmap that gets the bits" };
        var sources = new Argument<string[]>("SOURCE")
        {
            Description = "Bitmaps of the volume, or VOLUME:NAME of another",
            Arity = new(1, 1000),
        };
        var verb = new Command("merge", "Adds the bits of some bitmaps to another, all at one instant") { volume, target, sources };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var body = new MergeRequest([.. parsed.GetValue(sources)!.Select(Source)]);
            return Changes.Print(session, await api.PostAsync(
                Arguments.Path("volumes", parsed.GetValue(volume)!, "bitmaps", parsed.GetValue(target)!, "merge"), body,
                ApiJson.Default.MergeRequest));
        });
        return verb;
    }

    /// <summary>No volume's name holds a colon, so the first one ends it.</summary>
    internal static MergeSourceRequest Source(string text) => text.Split(':', 2) is [var volume, var name]
        ? new(name, volume)
        : new(text, Volume: null);

    private static Command List(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var verb = new Command("list", "The bitmaps of a volume, in QEMU's order: the newest first, behind them those of earlier runs") { volume };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var json = await api.GetAsync(Arguments.Path("volumes", parsed.GetValue(volume)!, "bitmaps"));
            session.Print(
                json, () => session.Print(AnswerText.Bitmaps(JsonSerializer.Deserialize(json, ApiJson.Default.BitmapsAnswer)!.Bitmaps)), "bitmaps");
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
            session.Print(json, () => session.Print(AnswerText.Bitmaps([JsonSerializer.Deserialize(json, ApiJson.Default.BitmapAnswer)!])));
            return ExitCode.Ok;
        });
        return verb;
    }
}
