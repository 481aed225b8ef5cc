using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Cli.Rendering;

/// <summary>What retention of a history did, or would do.</summary>
internal static class RetentionText
{
    public static void Write(Session session, RetainAnswer answer)
    {
        if (session.Quiet)
            return;
        var history = answer.History;
        var freed = ByteSize.Show(Math.Max(0, history.BytesBefore - history.BytesAfter));
        if (history.EventsBefore == 0)
            session.Out.WriteLine($"{answer.Volume}: nothing is old enough to be coalesced");
        else
            session.Out.WriteLine(
                $"{answer.Volume}: {history.Writes} writes in {history.EventsBefore} events {(answer.DryRun ? "would become" : "became")} "
                + $"{history.EventsAfter} events; {ByteSize.Show(history.BytesBefore)} to {ByteSize.Show(history.BytesAfter)}, "
                + $"{freed} {(answer.DryRun ? "would be freed" : "freed")}");
        if (history.ExactFrom is { } exact)
            session.Out.WriteLine($"single writes {(answer.DryRun ? "would be" : "are")} known from event {exact.Event} on, {exact.Time}");
        if (history.KeptFrom is { } kept)
            session.Out.WriteLine(
                $"history {(answer.DryRun ? "would be" : "is")} kept from event {kept.Event} on, {kept.Time}, and at checkpoints and slices");
    }
}
