using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Repairing;
using BitmapLedger.Ledger.Storing;
using Wolverine;

namespace BitmapLedger.Server;

/// <summary>Volumes, bitmaps and checkpoints.</summary>
internal static class VolumeEndpoints
{
    public static void MapVolumes(this WebApplication app)
    {
        app.MapGet("/v1/volumes", async (VolumeStreams streams, IAgent agent, CancellationToken c) =>
            new VolumesAnswer(await VolumeView.ManyAsync(await streams.AllAsync(c), agent, c)));
        app.MapPost("/v1/volumes", async (HttpContext http, Volumes volumes, CancellationToken c) =>
            await volumes.CreateAsync(await Body.ReadAsync(http, ApiJson.Default.CreateVolumeRequest), Gatekeeper.Origin(http), c));
        app.MapGet("/v1/volumes/{v}", async (string v, VolumeStreams streams, IAgent agent, CancellationToken c) =>
            (await VolumeView.ManyAsync([await streams.FindAsync(v, c)], agent, c))[0]);
        app.MapDelete("/v1/volumes/{v}", (
            string v, HttpContext http, Volumes volumes, CancellationToken c) =>
            volumes.RemoveAsync(v, Gatekeeper.Origin(http), c));

        app.MapPost("/v1/volumes/{v}/repair", (string v, HttpContext http, Repairer repairer, CancellationToken c) =>
            repairer.RepairAsync(v, Gatekeeper.Origin(http), c));

        app.MapGet("/v1/volumes/{v}/bitmaps", async (string v, Queries queries, CancellationToken c) =>
            new BitmapsAnswer((await queries.ReplayAsync(v, "now", bitmap: null, format: null, c)).Bitmaps));
        app.MapGet("/v1/volumes/{v}/bitmaps/{b}", async (string v, string b, Queries queries, CancellationToken c) =>
            (await queries.ReplayAsync(v, "now", b, format: null, c)).Bitmaps[0]);
        app.MapPost("/v1/volumes/{v}/bitmaps", async (string v, HttpContext http, Sender send) =>
        {
            var body = await Body.ReadAsync(http, ApiJson.Default.AddBitmapRequest);
            return await send.One(v, new VolumeCommand.AddBitmap(body.Name ?? "", body.Granularity, body.Disabled, !body.Transient), http);
        });
        app.MapPatch("/v1/volumes/{v}/bitmaps/{b}", async (string v, string b, HttpContext http, Sender send) =>
            await send.One(v, (await Body.ReadAsync(http, ApiJson.Default.ChangeBitmapRequest)).Recording switch
            {
                true => new VolumeCommand.EnableBitmap(b),
                false => new VolumeCommand.DisableBitmap(b),
                null => throw new LedgerException(ErrorCode.BadArgument, "'recording' is missing", """write {"recording": true} or false"""),
            }, http));
        app.MapPost("/v1/volumes/{v}/bitmaps/{b}/clear", (string v, string b, HttpContext http, Sender send) =>
            send.One(v, new VolumeCommand.ClearBitmap(b), http));
        app.MapDelete("/v1/volumes/{v}/bitmaps/{b}", (string v, string b, HttpContext http, Sender send) =>
            send.One(v, new VolumeCommand.RemoveBitmap(b), http));

        app.MapGet("/v1/volumes/{v}/checkpoints", async (string v, VolumeStreams streams, CancellationToken c) =>
            new CheckpointsAnswer(Queries.Show((await streams.FindAsync(v, c)).Checkpoints)));
        app.MapPost("/v1/checkpoints", async (HttpContext http, Sender send) =>
        {
            var body = await Body.ReadAsync(http, ApiJson.Default.CreateCheckpointRequest);
            return new CommandsAnswer(await send.Many(
                body.Volumes ?? [], new VolumeCommand.CreateCheckpoint(body.Name ?? "", body.Volumes ?? []), http));
        });
        app.MapDelete("/v1/volumes/{v}/checkpoints/{k}", (string v, string k, HttpContext http, Sender send) =>
            send.One(v, new VolumeCommand.DeleteCheckpoint(k), http));
    }

    /// <summary>Sends the commands of one request.</summary>
    internal sealed class Sender(IMessageBus bus, Commands commands)
    {
        public async Task<CommandAnswer> One(string volume, VolumeCommand command, HttpContext http) =>
            (await Many([volume], command, http))[0];

        public Task<IReadOnlyList<CommandAnswer>> Many(
            IReadOnlyList<string> volumes, VolumeCommand command, HttpContext http) =>
            commands.CarryOutAsync(bus, volumes, command, Gatekeeper.Origin(http), http.RequestAborted);
    }
}
