using System.CommandLine;
using System.Text.Json;
using BitmapLedger.Cli.Rendering;
using BitmapLedger.Contracts;

namespace BitmapLedger.Cli;

/// <summary><c>bml volume …</c>.</summary>
internal static class VolumeVerbs
{
    public static Command Build(GlobalOptions global)
    {
        var volume = new Command("volume", "Volumes: what is served and watched");
        volume.Subcommands.Add(Create(global));
        volume.Subcommands.Add(Add(global));
        volume.Subcommands.Add(List(global));
        volume.Subcommands.Add(Show(global));
        volume.Subcommands.Add(Resize(global));
        volume.Subcommands.Add(Remove(global));
        return volume;
    }

    /// <summary>Also what <c>bml serve --volume</c> does.</summary>
    public static async Task<string> AddAsync(
        ApiClient api, string name, string backend, bool readOnly, string? durability, string? whenFull) =>
        await api.PostAsync("v1/volumes", new(
            name, null, null, Absolute(backend), readOnly, durability, whenFull), ApiJson.Default.CreateVolumeRequest);

    private static Command Create(GlobalOptions global)
    {
        var name = Arguments.Name();
        var size = new Option<string>("--size") { Description = "Size, e.g. 20G, rounded up to a multiple of 512 bytes", Required = true };
        var file = Arguments.Text("--file", "Where the sparse file goes (default: the data directory)");
        var (durability, whenFull) = Policies();
        var verb = new Command(
            "create", "A new volume on a sparse raw file") { name, size, file, durability, whenFull };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var path = parsed.GetValue(file) is { } given ? Path.GetFullPath(given) : null;
            var json = await api.PostAsync(
                "v1/volumes",
                new(parsed.GetValue(name), Arguments.Size(
                    parsed.GetValue(size)), path, null, false, parsed.GetValue(durability), parsed.GetValue(whenFull)),
                ApiJson.Default.CreateVolumeRequest);
            return Changes.Print(session, json);
        });
        return verb;
    }

    private static Command Add(GlobalOptions global)
    {
        var name = Arguments.Name();
        var backend = new Option<string>("--backend") { Description = "file:PATH or device:PATH", Required = true };
        var readOnly = Arguments.Flag("--read-only", "Clients may not write");
        var (durability, whenFull) = Policies();
        var verb = new Command(
            "add", "Takes what is there under watch") { name, backend, readOnly, durability, whenFull };
        global.Handle(verb, async (parsed, session, api) =>
        {
            return Changes.Print(session, await AddAsync(
                api, parsed.GetValue(name)!, parsed.GetValue(
                    backend)!, parsed.GetValue(readOnly), parsed.GetValue(durability), parsed.GetValue(whenFull)));
        });
        return verb;
    }

    private static Command List(GlobalOptions global)
    {
        var verb = new Command("list", "All volumes");
        global.Handle(verb, async (parsed, session, api) =>
        {
            var json = await api.GetAsync("v1/volumes");
            session.Print(
                json, () => session.Print(AnswerText.Volumes(JsonSerializer.Deserialize(json, ApiJson.Default.VolumesAnswer)!.Volumes)), "volumes");
            return ExitCode.Ok;
        });
        return verb;
    }

    private static Command Show(GlobalOptions global)
    {
        var name = Arguments.Name();
        var verb = new Command("show", "One volume") { name };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var json = await api.GetAsync(Arguments.Path("volumes", parsed.GetValue(name)!));
            session.Print(json, () => AnswerText.Volume(session.Out, JsonSerializer.Deserialize(json, ApiJson.Default.VolumeAnswer)!));
            return ExitCode.Ok;
        });
        return verb;
    }

    private static Command Resize(GlobalOptions global)
    {
        var name = Arguments.Name();
        var size = new Option<string>("--size") { Description = "Size, e.g. 20G, a multiple of 512 bytes", Required = true };
        var verb = new Command("resize", "Lets a volume grow or shrink; bitmaps follow as QEMU's do") { name, size };
        global.Handle(verb, async (parsed, session, api) =>
        {
            return Changes.Print(session, await api.PatchAsync(
                Arguments.Path("volumes", parsed.GetValue(name)!), new(Arguments.Size(parsed.GetValue(size))),
                ApiJson.Default.ChangeVolumeRequest));
        });
        return verb;
    }

    private static Command Remove(GlobalOptions global)
    {
        var name = Arguments.Name();
        var verb = new Command("remove", "Takes a volume out of watch; its data and its history stay") { name };
        global.Handle(verb, async (parsed, session, api) =>
        {
            return Changes.Print(session, await api.DeleteAsync(Arguments.Path("volumes", parsed.GetValue(name)!)));
        });
        return verb;
    }

    private static (Option<string?> Durability, Option<string?> WhenFull) Policies() =>
    (
        Arguments.Text(
            "--durability", "power (default), or process: faster, and after a power loss all of the volume counts as changed"),
        Arguments.Text("--when-full", "stall or fail, when the journal quota is used up"));

    private static string Absolute(string backend)
    {
        var colon = backend.IndexOf(':');
        if (colon <= 0 || backend[..colon] is not ("file" or "device"))
            return backend;
        return backend.Length > colon + 1
            ? $"{backend[..colon]}:{Path.GetFullPath(backend[(colon + 1)..])}"
            : throw new CliException(ErrorCode.BadArgument, $"'{backend}' names no path", "write file:/path/to/disk.img");
    }
}
