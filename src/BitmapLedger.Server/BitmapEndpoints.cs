using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger;

namespace BitmapLedger.Server;

/// <summary>Bitmaps of a volume.</summary>
internal static class BitmapEndpoints
{
    public static void MapBitmaps(this IEndpointRouteBuilder app)
    {
        app.MapGet("/v1/volumes/{v}/bitmaps", async (
            string v, int? limit, string? after, HttpContext http, BitmapView view, CancellationToken c) =>
        {
            var (bitmaps, at) = await view.NowAsync(v, bitmap: null, c);
            EntityTag.Show(http, at);
            var (page, next) = Paging.Cut(bitmaps, b => b.Name, limit, after);
            return new BitmapsAnswer(page, next);
        }).Listed("bitmaps").WithSummary("The bitmaps of a volume, in QEMU's order");
        app.MapGet("/v1/volumes/{v}/bitmaps/{b}", async (string v, string b, HttpContext http, BitmapView view, CancellationToken c) =>
        {
            var (bitmaps, at) = await view.NowAsync(v, b, c);
            EntityTag.Show(http, at);
            return bitmaps[0];
        }).WithSummary("A bitmap, with its digest and its extents");
        app.MapPost("/v1/volumes/{v}/bitmaps", async (string v, HttpContext http, Sender send) =>
        {
            var body = await Body.ReadAsync(http, ApiJson.Default.AddBitmapRequest);
            return await send.One(v, new VolumeCommand.AddBitmap(body.Name ?? "", body.Granularity, body.Disabled, !body.Transient), http);
        }).Takes<AddBitmapRequest>().WithSummary("Adds an empty bitmap");
        app.MapPatch("/v1/volumes/{v}/bitmaps/{b}", async (string v, string b, HttpContext http, Sender send) =>
            await send.One(v, (await Body.ReadAsync(http, ApiJson.Default.ChangeBitmapRequest)).Recording switch
            {
                true => new VolumeCommand.EnableBitmap(b),
                false => new VolumeCommand.DisableBitmap(b),
                null => throw new LedgerException(ErrorCode.BadArgument, "'recording' is missing", """write {"recording": true} or false"""),
            }, http)).Takes<ChangeBitmapRequest>().WithSummary("Lets a bitmap record, or stops it");
        app.MapPost("/v1/volumes/{v}/bitmaps/{b}/clear", (string v, string b, HttpContext http, Sender send) =>
            send.One(v, new VolumeCommand.ClearBitmap(b), http)).WithSummary("Empties a bitmap");
        app.MapPost("/v1/volumes/{v}/bitmaps/{b}/merge", async (string v, string b, HttpContext http, Sender send) =>
            await send.Merge(v, b, (await Body.ReadAsync(http, ApiJson.Default.MergeRequest)).Sources
                ?? throw new LedgerException(ErrorCode.BadArgument, "'sources' is missing", """write {"sources": ["NAME"]}"""), http))
            .Takes<MergeRequest>().WithSummary("Adds the bits of other bitmaps, of this volume or of others");
        app.MapDelete("/v1/volumes/{v}/bitmaps/{b}", (string v, string b, HttpContext http, Sender send) =>
            send.One(v, new VolumeCommand.RemoveBitmap(b), http)).WithSummary("Removes a bitmap");
    }
}
