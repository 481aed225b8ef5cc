using System.Text.Json;
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
        var fingerprint = $"merge {JsonSerializer.Serialize(new[] { volume, target })} {JsonSerializer.Serialize(sources)}";
        var answer = (await commands.TransactAsync(bus, fingerprint, ReadAsync, Gatekeeper.Origin(http), http.RequestAborted))[0];
        EntityTag.Show(http, answer.Event);
        return answer;

        async Task<IReadOnlyList<VolumeAction>> ReadAsync()
        {
            var id = await streams.IdAsync(volume, http.RequestAborted);
            List<BitmapRef> refs = [];
            foreach (var source in sources)
                refs.Add(new(source.Name, source.Volume is { } other && other != volume
                    ? await streams.IdAsync(other, http.RequestAborted)
                    : null));
            return [new(id, new VolumeCommand.MergeBitmap(target, refs))];
        }
    }

    public Task<IReadOnlyList<CommandAnswer>> Many(
        IReadOnlyList<string> volumes, VolumeCommand command, HttpContext http) =>
        commands.CarryOutAsync(bus, volumes, command, Gatekeeper.Origin(http), http.RequestAborted);
}
