using System.Globalization;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Reading;

namespace BitmapLedger.Server;

/// <summary>Slices of a bitmap, and how many it keeps.</summary>
internal static class SliceEndpoints
{
    public static void MapSlices(this IEndpointRouteBuilder app)
    {
        app.MapGet("/v1/volumes/{v}/bitmaps/{b}/slices", async (
            string v, string b, int? limit, string? after, SliceReader slices, CancellationToken c) =>
        {
            var (page, next) = Paging.Cut(
                await slices.ListAsync(v, b, c), s => s.Slice.ToString(CultureInfo.InvariantCulture), limit, after);
            return new SlicesAnswer(
                [.. page.Select(s => new SliceAnswer(s.Slice, s.Count, s.Sha256, s.From.Answer, s.To.Answer, s.Cause))], next);
        }).Listed("slices").WithSummary("The slices of a bitmap, oldest first");
        app.MapPost("/v1/volumes/{v}/bitmaps/{b}/slices", async (string v, string b, HttpContext http, Sender send) =>
        {
            var body = await Body.ReadOptionalAsync(http, ApiJson.Default.BankSliceRequest) ?? new(ForceCycle: false);
            var answer = await send.One(v, new VolumeCommand.BankSlice(b, body.ForceCycle), http);
            return new BankAnswer(
                answer.Volume, answer.Event, answer.Lsn, answer.Time, answer.Slices![0].Slice, answer.DroppedSlices ?? []);
        }).Takes<BankSliceRequest>().WithSummary("Moves the bits of a bitmap into a slice, and leaves the bitmap empty");
        app.MapDelete("/v1/volumes/{v}/bitmaps/{b}/slices/{n}", (string v, string b, string n, HttpContext http, Sender send) =>
            send.One(v, new VolumeCommand.DeleteSlice(b, Number(n)), http))
            .WithSummary("Deletes a slice; its bits join the next older one");
        app.MapPut("/v1/volumes/{v}/bitmaps/{b}/retention", async (string v, string b, HttpContext http, Sender send) =>
        {
            var body = await Body.ReadAsync(http, ApiJson.Default.RetentionRequest);
            return await send.One(v, new VolumeCommand.SetRetention(
                b, body.Slices ?? throw new LedgerException(ErrorCode.BadArgument, "'slices' is missing", """write {"slices": 4}"""),
                body.Overflow, body.ForceCycle), http);
        }).Takes<RetentionRequest>().WithSummary("Sets how many slices a bitmap keeps, and what happens when there is no room");
    }

    private static long Number(string text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw new LedgerException(ErrorCode.BadArgument, $"'{text}' is no number of a slice", "write a whole number");
}
