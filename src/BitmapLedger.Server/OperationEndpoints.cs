using BitmapLedger.Contracts.Answers;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Server;

/// <summary>Projections, schema and health.</summary>
internal static class OperationEndpoints
{
    public static void MapOperations(this IEndpointRouteBuilder app)
    {
        app.MapGet("/v1/projections", async (int? limit, string? after, ProjectionControl projections, CancellationToken c) =>
        {
            var (page, next) = Paging.Cut((await projections.StatusAsync(c)).Projections, p => p.Name, limit, after);
            return new ProjectionsAnswer(page, next);
        }).Listed("projections").WithSummary("How far each projection is");
        app.MapPost("/v1/projections/{p}/rebuild", (string p, ProjectionControl projections, CancellationToken c) =>
            projections.RebuildAsync(p, c)).WithSummary("Drops a projection and builds it again while writes go on");
        app.MapGet("/v1/schema", (LedgerSchema schema, CancellationToken c) => schema.StatusAsync(c))
            .WithSummary("The schema that is there, and the one that this program needs");
        app.MapGet("/health/live", () => Results.Ok()).WithSummary("Answers while the server lives");
        app.MapGet("/health/ready", Ready).WithSummary("Whether clients may connect, and where")
            .Produces<ReadyAnswer>().Produces<ReadyAnswer>(StatusCodes.Status503ServiceUnavailable);
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
        return Results.Ok(new ReadyAnswer("ready", http, welcome.Listeners) { Qmp = services.GetRequiredService<ServerOptions>().Qmp });
    }

    private static IResult NotReady(string why, string? http) =>
        Results.Json(new ReadyAnswer(why, http, []), statusCode: StatusCodes.Status503ServiceUnavailable);
}
