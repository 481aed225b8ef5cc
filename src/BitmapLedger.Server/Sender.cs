using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Ledger.Storing;
using Wolverine;

namespace BitmapLedger.Server;

/// <summary>Sends the commands of one request; the answer's tag is the event that was appended.</summary>
internal sealed class Sender(IMessageBus bus, Commands commands, VolumeStreams streams)
{
    public async Task<CommandAnswer> One(string volume, VolumeCommand command, HttpContext http)
    {
        var answer = (await Many([volume], command, http))[0];
        EntityTag.Show(http, answer.Event);
        return answer;
    }

    public async Task<CommandAnswer> Merge(
        string volume, string target, IReadOnlyList<MergeSourceRequest> sources, HttpContext http)
    {
        List<BitmapRef> refs = [];
        foreach (var source in sources)
            refs.Add(new(source.Name, source.Volume is { } other && other != volume
                ? await streams.IdAsync(other, http.RequestAborted)
                : null));
        return await One(volume, new VolumeCommand.MergeBitmap(target, refs), http);
    }

    public Task<IReadOnlyList<CommandAnswer>> Many(
        IReadOnlyList<string> volumes, VolumeCommand command, HttpContext http) =>
        commands.CarryOutAsync(bus, volumes, command, Gatekeeper.Origin(http), http.RequestAborted);
}
