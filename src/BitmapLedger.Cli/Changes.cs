using System.Text.Json;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;

namespace BitmapLedger.Cli;

/// <summary>What commands print: the event that they appended.</summary>
internal static class Changes
{
    public static int Print(Session session, string json)
    {
        session.Print(json, () =>
        {
            if (!session.Quiet)
                Line(session, JsonSerializer.Deserialize(json, ApiJson.Default.CommandAnswer)!);
        });
        return ExitCode.Ok;
    }

    public static int PrintMany(Session session, string json)
    {
        session.Print(json, () =>
        {
            foreach (var answer in session.Quiet ? [] : JsonSerializer.Deserialize(
                json, ApiJson.Default.CommandsAnswer)!.Volumes)
                Line(session, answer);
        }, "volumes");
        return ExitCode.Ok;
    }

    private static void Line(Session session, CommandAnswer answer) =>
        session.Out.WriteLine($"{answer.Volume}: event {answer.Event}, after lsn {answer.Lsn}, {answer.Time}");
}
