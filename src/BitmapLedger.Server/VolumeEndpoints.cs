using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Repairing;
using BitmapLedger.Ledger.Retaining;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Server;

/// <summary>Volumes and checkpoints.</summary>
internal static class VolumeEndpoints
{
    public static void MapVolumes(this IEndpointRouteBuilder app)
    {
        app.MapGet("/v1/volumes", async (int? limit, string? after, VolumeStreams streams, IAgent agent, CancellationToken c) =>
        {
            var (page, next) = Paging.Cut(await streams.AllAsync(c), v => v.Name, limit, after);
            return new VolumesAnswer(await VolumeView.ManyAsync(page, streams, agent, c), next);
        }).Listed("volumes").WithSummary("All volumes, by name");
        app.MapPost("/v1/volumes", async (HttpContext http, Volumes volumes, CancellationToken c) =>
            Tagged(http, await volumes.CreateAsync(
                await Body.ReadAsync(http, ApiJson.Default.CreateVolumeRequest), Gatekeeper.Origin(http), c)))
            .Takes<CreateVolumeRequest>().WithSummary("Takes a volume under watch, on a new sparse file or on what is there");
        app.MapGet("/v1/volumes/{v}", async (string v, HttpContext http, VolumeStreams streams, IAgent agent, CancellationToken c) =>
        {
            var state = await streams.FindAsync(v, c);
            EntityTag.Show(http, state.Event);
            return (await VolumeView.ManyAsync([state], streams, agent, c))[0];
        }).WithSummary("A volume");
        app.MapPatch("/v1/volumes/{v}", ChangeAsync).Takes<ChangeVolumeRequest>().WithSummary("Changes the size of a volume");
        app.MapDelete("/v1/volumes/{v}", async (
            string v, HttpContext http, Volumes volumes, CancellationToken c) =>
            Tagged(http, await volumes.RemoveAsync(v, Gatekeeper.Origin(http), c)))
            .WithSummary("Takes a volume out of watch; its data and its history stay");

        app.MapPost("/v1/volumes/{v}/repair", (string v, HttpContext http, Repairer repairer, CancellationToken c) =>
            repairer.RepairAsync(v, Gatekeeper.Origin(http), c))
            .WithSummary("Goes on behind a damaged stretch of a volume's journal; the stretch counts as all written");

        app.MapPost("/v1/volumes/{v}/history/retain", async (string v, HttpContext http, Retainer retainer, CancellationToken c) =>
        {
            var body = await Body.ReadAsync(http, ApiJson.Default.RetainRequest);
            if (body.DryRun)
                return await retainer.TryAsync(v, body.Exact, body.Coalesced, c);
            var answer = await retainer.RetainAsync(v, body.Exact, body.Coalesced, Gatekeeper.Origin(http), c);
            EntityTag.Show(http, answer.Event);
            return answer;
        }).Takes<RetainRequest>().WithSummary("Coalesces old single writes, and makes still older history unreachable");

        app.MapGet("/v1/volumes/{v}/checkpoints", async (
            string v, int? limit, string? after, CheckpointReader checkpoints, CancellationToken c) =>
        {
            var (page, next) = Paging.Cut(await checkpoints.ListAsync(v, c), k => k.Name, limit, after);
            return new CheckpointsAnswer(
                [.. page.Select(k => new CheckpointAnswer(k.Name, k.Parent, k.At.Answer, k.Count, k.Exact ? null : false))], next);
        }).Listed("checkpoints").WithSummary("The checkpoints of a volume, oldest first");
        app.MapPost("/v1/checkpoints", async (HttpContext http, Sender send) =>
        {
            var body = await Body.ReadAsync(http, ApiJson.Default.CreateCheckpointRequest);
            if (body.Volumes is { Count: > 1 } && EntityTag.Expected(http.Request) is not null)
                throw new LedgerException(
                    ErrorCode.BadArgument, "If-Match names an event of one volume, and there are several", "leave it out");
            var answers = await send.Many(
                body.Volumes ?? [], new VolumeCommand.CreateCheckpoint(body.Name ?? "", body.Volumes ?? []), http);
            if (answers is [var only])
                EntityTag.Show(http, only.Event);
            return new CommandsAnswer(answers);
        }).Takes<CreateCheckpointRequest>().WithSummary("Names this instant in one or several volumes at once");
        app.MapDelete("/v1/volumes/{v}/checkpoints/{k}", (string v, string k, HttpContext http, Sender send) =>
            send.One(v, new VolumeCommand.DeleteCheckpoint(k), http))
            .WithSummary("Forgets the name; no change since an older checkpoint is lost");
    }

    private static CommandAnswer Tagged(HttpContext http, CommandAnswer answer)
    {
        EntityTag.Show(http, answer.Event);
        return answer;
    }

    /// <summary>What a volume was created with is part of its promises; only its size may change.</summary>
    private static async Task<CommandAnswer> ChangeAsync(string v, HttpContext http, Sender send)
    {
        var body = await Body.ReadAsync(http, ApiJson.Default.ChangeVolumeRequest);
        return await send.One(v, new VolumeCommand.ResizeVolume(body.Size
            ?? throw new LedgerException(ErrorCode.BadArgument, "'size' is missing", """write {"size": BYTES}""")), http);
    }
}
