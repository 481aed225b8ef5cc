using System.CommandLine;
using System.Text.Json;
using BitmapLedger.Cli.Rendering;
using BitmapLedger.Contracts;

namespace BitmapLedger.Cli;

/// <summary><c>bml projection step</c>.</summary>
internal static class StepVerb
{
    public static Command Build(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var name = new Argument<string>("NAME") { Description = "The projection: bitmap-bits, union-tree or volume-state" };
        var from = new Option<string>("--from") { Description = "After this point (or FROM..TO in one word)", Required = true };
        var to = Arguments.Text("--to", "Up to and including this point (default now)");
        var verb = new Command("step", "Walks a projection event by event and says what each changes") { volume, name, from, to };
        global.Handle(verb, (parsed, session, api) =>
        {
            var (first, last) = QueryVerbs.Range(parsed.GetValue(from)!, parsed.GetValue(to));
            var path = Arguments.Path("projections", parsed.GetValue(name)!, "step") + Arguments.Query(
                ("volume", parsed.GetValue(volume)), ("from", first), ("to", last ?? "now"));
            return session is { Json: true, JsonLines: false } ? PrintAsync(session, api, path) : StreamAsync(session, api, path);
        });
        return verb;
    }

    private static async Task<int> PrintAsync(Session session, ApiClient api, string path)
    {
        await using (new Progress(session.Progress, "projection step"))
            session.Out.WriteLine(await api.GetAsync(path));
        return ExitCode.Ok;
    }

    private static async Task<int> StreamAsync(Session session, ApiClient api, string path)
    {
        await LineStream.ShowAsync(session, api, path, "walk", LineStream.GoOn, line =>
            StepText.Write(session.Out, JsonSerializer.Deserialize(line, ApiJson.Default.ProjectionStep)!));
        return ExitCode.Ok;
    }
}
