using System.CommandLine;
using System.Text.Json;
using BitmapLedger.Cli.Rendering;
using BitmapLedger.Contracts;

namespace BitmapLedger.Cli;

/// <summary><c>bml slice …</c> and <c>bml retention set</c>.</summary>
internal static class SliceVerbs
{
    public static Command BuildRetention(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var bitmap = Bitmap();
        var slices = new Option<string>("--slices") { Description = "Most slices that are kept; 0 for none", Required = true };
        var overflow = Arguments.Text(
            "--overflow", "When there is no room for another: fail, or cycle, then the oldest goes; as it was when left out, fail at first");
        var force = Arguments.Flag("--force-cycle", "Lets the oldest go when there are more than that already");
        var set = new Command("set", "Sets how many slices a bitmap keeps") { volume, bitmap, slices, overflow, force };
        global.Handle(set, async (parsed, session, api) =>
        {
            var most = long.Parse(Arguments.Number(parsed.GetValue(slices), "number of slices")!);
            return Changes.Print(session, await api.PutAsync(
                Path(parsed, volume, bitmap, "retention"), new(most, parsed.GetValue(overflow), parsed.GetValue(force)),
                ApiJson.Default.RetentionRequest));
        });
        return new("retention", "How many slices a bitmap keeps") { set };
    }

    public static Command BuildSlice(GlobalOptions global) =>
        new("slice", "Frozen, numbered parts of a bitmap") { List(global), Bank(global), Delete(global) };

    private static Command List(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var bitmap = Bitmap();
        var verb = new Command("list", "The slices of a bitmap, oldest first") { volume, bitmap };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var json = await api.GetAsync(Path(parsed, volume, bitmap, "slices"));
            session.Print(
                json, () => session.Print(AnswerText.Slices(JsonSerializer.Deserialize(json, ApiJson.Default.SlicesAnswer)!)), "slices");
            return ExitCode.Ok;
        });
        return verb;
    }

    private static Command Bank(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var bitmap = Bitmap();
        var force = Arguments.Flag("--force-cycle", "Lets the oldest go when there is no room, whatever the policy says");
        var verb = new Command("bank", "Moves the bits of a bitmap into a slice; the bitmap is empty and goes on") { volume, bitmap, force };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var json = await api.PostAsync(
                Path(parsed, volume, bitmap, "slices"), new(parsed.GetValue(force)), ApiJson.Default.BankSliceRequest);
            session.Print(json, () =>
            {
                if (!session.Quiet)
                    session.Out.WriteLine(AnswerText.Banked(JsonSerializer.Deserialize(json, ApiJson.Default.BankAnswer)!, parsed.GetValue(bitmap)!));
            });
            return ExitCode.Ok;
        });
        return verb;
    }

    private static Command Delete(GlobalOptions global)
    {
        var volume = Arguments.Volume();
        var bitmap = Bitmap();
        var number = new Argument<string>("N") { Description = "Number of the slice" };
        var verb = new Command("delete", "Deletes a slice; its bits join the next older one") { volume, bitmap, number };
        global.Handle(verb, async (parsed, session, api) =>
        {
            var slice = Arguments.Number(parsed.GetValue(number), "number of a slice")!;
            return Changes.Print(session, await api.DeleteAsync(Path(parsed, volume, bitmap, "slices", slice)));
        });
        return verb;
    }

    private static Argument<string> Bitmap() => new("BITMAP") { Description = "Name of the bitmap" };

    private static string Path(ParseResult parsed, Argument<string> volume, Argument<string> bitmap, params IEnumerable<string> rest) =>
        Arguments.Path(["volumes", parsed.GetValue(volume)!, "bitmaps", parsed.GetValue(bitmap)!, .. rest]);
}
