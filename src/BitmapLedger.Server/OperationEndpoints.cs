using BitmapLedger.Contracts.Answers;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Server;

/// <summary>Projections, schema and health.</summary>
internal static class OperationEndpoints
{
    public static void MapOperations(this WebApplication app)
    {
        app.MapGet(
            "/v1/projections", (ProjectionControl projections, CancellationToken c) => projections.StatusAsync(c));
        app.MapPost("/v1/projections/{p}/rebuild", (string p, ProjectionControl projections, CancellationToken c) =>
            projections.RebuildAsync(p, c));
        app.MapGet("/v1/schema", (LedgerSchema schema, CancellationToken c) => schema.StatusAsync(c));
        app.MapGet("/health/live", () => Results.Ok());
        app.MapGet("/health/ready", Ready);
    }

    private static async Task<IResult> Ready(
        LedgerLoop loop, LedgerOpening opening, PostgresWatch watch, IAgent agent, IServiceProvider services, CancellationToken c)
    {
        var http = ServerFiles.HttpAddress(services);
        if (!await watch.LookAsync(c) || !opening.IsOpen)
            return NotReady($"{ReadyAnswer.WaitingForPostgres}: {watch.Reason ?? "it has just come"}", http);
        if (!loop.IsReady)
            return NotReady("waiting for the agent", http);
        var welcome = await agent.StatusAsync(c);
        return Results.Ok(new ReadyAnswer("ready", http, welcome.Listeners));
    }

    private static IResult NotReady(string why, string? http) =>
        Results.Json(new ReadyAnswer(why, http, []), statusCode: StatusCodes.Status503ServiceUnavailable);
}
