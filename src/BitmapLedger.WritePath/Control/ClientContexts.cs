using System.Diagnostics;
using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.WritePath.Control;

/// <summary>
/// Makes the contexts that one client asks for by name, from what the Server says of the past. What cannot be made is not
/// negotiated, and the log says why. The client's own thread waits for the Server, and no longer than a limit.
/// </summary>
/// <param name="shared">What all clients have in common.</param>
/// <param name="peer">Names the client.</param>
internal sealed class ClientContexts(LedgerContexts shared, string peer) : IContextMaker
{
    /// <summary>Most maps of a client; those that it chose before go when it chooses again.</summary>
    private const int MapsMax = 16;

    /// <summary>A client that is refused again and again does not fill the log.</summary>
    private const int LinesMax = 64;

    private const int NameCharactersMax = 256;
    private const int LineCharactersMax = 1024;

    /// <summary>For all that a client asks for at once.</summary>
    private static readonly TimeSpan _answerLimit = TimeSpan.FromSeconds(5);

    private int _lines;

    /// <inheritdoc />
    public IReadOnlyList<IMetaContext> Make(IExport export, IReadOnlyList<string> queries) => Make(export, queries, Refuse);

    /// <inheritdoc />
    public IReadOnlyList<string> List(IExport export, IReadOnlyList<string> queries)
    {
        var ours = queries.Where(IsOurs).ToList();
        if (export is not VolumeExport { Volume: { Bitmaps.Complete: true } volume } || (ours.Count == 0 && queries.Count > 0))
            return [];
        var started = Stopwatch.GetTimestamp();
        var answer = Ask(new ListRanges(volume.Spec.Id), started).Wait(Left(started));
        if (answer is not RangeNames { Names: var names })
        {
            Say($"contexts of volume '{volume.Spec.Name}' are not listed for {peer}: {WhyNot(answer)}");
            return [];
        }

        List<string> listed = [.. names.Where(n => queries.Count == 0 || ours.Exists(q => MetaQuery.Matches(n, q, forList: true)))];
        foreach (var made in Make(export, [.. ours.Where(q => !q.EndsWith(':')).Except(listed)], (_, _, _) => { }))
        {
            listed.Add(made.Name);
            ((IDisposable)made).Dispose();
        }

        return listed;
    }

    private List<IMetaContext> Make(IExport export, IReadOnlyList<string> queries, Action<IExport, string, string> refuse)
    {
        var names = queries.Where(IsOurs).Distinct(StringComparer.Ordinal).ToList();
        var started = Stopwatch.GetTimestamp();
        List<Opening> openings = [];
        List<IMetaContext> made = [];
        foreach (var name in names.Take(MapsMax))
        {
            if (Open(export, name, started, out var fault) is { } opening)
                openings.Add(opening);
            else
                refuse(export, name, fault);
        }

        if (names.Count > MapsMax)
            refuse(export, names[MapsMax], $"it is one of {names.Count}, and a client may have {MapsMax} at a time");
        foreach (var opening in openings)
        {
            if (Finish(opening, started, out var fault) is { } context)
                made.Add(context);
            else
                refuse(export, opening.Name, fault);
        }

        return made;
    }

    /// <summary>Begins what a name means. A watch begins before the ledger is asked: what is written in between is in both.</summary>
    private Opening? Open(IExport export, string text, long started, out string fault)
    {
        if (ContextName.TryParse(text, out fault) is not { } name)
            return null;
        if (export is not VolumeExport { Volume: var volume })
            fault = "a block export shows the bitmaps that were chosen for it and nothing else";
        else if (!volume.Bitmaps.Complete)
            fault = "its bits are not complete yet: the server has not given them since the agent started";
        else if (!shared.TryEnter())
            fault = $"all clients together have {LedgerContexts.MapsMax} of them, and may have no more";
        else
            return Open(volume, text, name, started, out fault);
        return null;
    }

    private Opening? Open(TrackedVolume volume, string text, ContextName name, long started, out string fault)
    {
        ChangeWatch? watch = null;
        if (name is ContextName.Changed { IsLive: true } && (watch = Watch(volume, out fault)) is null)
        {
            shared.Leave();
            return null;
        }

        fault = "";
        var question = Ask(name switch
        {
            ContextName.Changed changed => new ChangedBits(volume.Spec.Id, changed.From, changed.To, watch?.Lsn ?? 0),
            ContextName.Bitmap bitmap => new BitsAt(volume.Spec.Id, bitmap.Name, bitmap.At),
            _ => throw new UnreachableException(),
        }, started);
        return new(text, volume, watch, question);
    }

    private static ChangeWatch? Watch(TrackedVolume volume, out string fault)
    {
        fault = "a write that does not end holds up the cut, or the volume is being closed; try again";
        try
        {
            return volume.TryWatch();
        }
        catch (Exception failure) when (failure is BitmapLedgerException or IOException or OutOfMemoryException or ObjectDisposedException)
        {
            fault = failure.Message;
            return null;
        }
    }

    private LedgerContext? Finish(Opening opening, long started, out string fault)
    {
        try
        {
            var answer = opening.Question.Wait(Left(started));
            fault = WhyNot(answer);
            if (answer is BitsFile { File: var file })
                return new(opening.Name, opening.Volume, shared.Bits.Take(file), opening.Watch, shared.Leave);
        }
        catch (Exception failure) when (failure is BitmapLedgerException or IOException or UnauthorizedAccessException or OutOfMemoryException)
        {
            fault = failure.Message;
        }

        if (opening.Watch is { } watch)
            opening.Volume.Bitmaps.End(watch);
        shared.Leave();
        return null;
    }

    private LedgerQuestion Ask(ControlRequest question, long started) =>
        shared.Ledger?.Ask(question, Left(started)) ?? LedgerQuestion.Answered(new Failed("busy", "no server is connected"));

    private static string WhyNot(ControlReply? answer) => answer switch
    {
        Failed { Message: var why } => why,
        null => $"the server did not answer within {_answerLimit.TotalSeconds:0} s",
        _ => "the server answered something else",
    };

    private static TimeSpan Left(long started) => _answerLimit - Stopwatch.GetElapsedTime(started);

    private static bool IsOurs(string query) => query.StartsWith(ContextName.Namespace, StringComparison.Ordinal);

    private void Refuse(IExport export, string name, string why) =>
        Say($"context '{Cut(name, NameCharactersMax)}' of export '{export.Name}' is not negotiated with {peer}: {why}");

    private void Say(string line)
    {
        if (++_lines <= LinesMax)
            shared.Log(Cut(line, LineCharactersMax));
        if (_lines == LinesMax)
            shared.Log($"what else {peer} is refused is not said");
    }

    /// <summary>Text from outside: bounded, and in one line.</summary>
    private static string Cut(string text, int most)
    {
        var shown = text.Length <= most ? text : text[..most] + "…";
        return string.Create(shown.Length, shown, static (target, source) =>
        {
            for (var i = 0; i < source.Length; i++)
                target[i] = char.IsControl(source[i]) ? '?' : source[i];
        });
    }

    /// <summary>A context on its way.</summary>
    private sealed record Opening(string Name, TrackedVolume Volume, ChangeWatch? Watch, LedgerQuestion Question);
}
