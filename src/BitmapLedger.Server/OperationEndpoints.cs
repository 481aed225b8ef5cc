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
        app.MapGet("/health/ready", async (
            LedgerLoop loop, IAgent agent, IServiceProvider services, CancellationToken c) =>
        {
            if (!loop.IsReady)
                return Results.Json(
                    new ReadyAnswer("waiting for the agent", ServerFiles.HttpAddress(
                        services), []), statusCode: StatusCodes.Status503ServiceUnavailable);
            var welcome = await agent.StatusAsync(c);
            return Results.Ok(new ReadyAnswer("ready", ServerFiles.HttpAddress(services), welcome.Listeners));
        });
    }
}
