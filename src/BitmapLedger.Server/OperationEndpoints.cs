using System.Text.Json;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Ledger.Verifying;

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
            projections.RebuildAsync(p, c)).WithSummary("Builds a projection again, beside the one that answers are made of until then");
        app.MapGet("/v1/projections/{p}/step", Step).Produces<ProjectionStepsAnswer>()
            .WithSummary("Walks a projection event by event and says what each changes");
        app.MapGet("/v1/schema", (LedgerSchema schema, CancellationToken c) => schema.StatusAsync(c))
            .WithSummary("The schema that is there, and the one that this program needs");
        app.MapGet("/health/live", () => Results.Ok()).WithSummary("Answers while the server lives");
        app.MapGet("/health/ready", Ready).WithSummary("Whether clients may connect, and where")
            .Produces<ReadyAnswer>().Produces<ReadyAnswer>(StatusCodes.Status503ServiceUnavailable);
    }

    private static async Task Step(
        string p, string? volume, string? from, string? to, HttpContext http, ProjectionSteps projections, CancellationToken c)
    {
        var walk = await projections.WalkAsync(
            p, volume ?? throw Missing("volume"), from ?? throw Missing("from"), to ?? throw Missing("to"), c);
        var answer = new ProjectionStepsAnswer(walk.Volume, walk.Projection, walk.From.Answer, walk.To.Answer, []);
        if (!AnswerLines.Wanted(http.Request))
        {
            List<ProjectionStep> steps = [];
            await foreach (var step in walk.Steps.WithCancellation(c))
                steps.Add(step);
            await http.Response.WriteAsJsonAsync(answer with { Steps = steps }, ApiJson.Wire.ProjectionStepsAnswer, cancellationToken: c);
            return;
        }

        var lines = new LineWriter<ProjectionStep>(http.Response, ApiJson.Wire.ProjectionStep);
        await foreach (var step in walk.Steps.WithCancellation(c))
            await lines.WriteAsync(step, c);
        var (first, last) = (
            JsonSerializer.Serialize(answer.From, ApiJson.Wire.PositionAnswer), JsonSerializer.Serialize(answer.To, ApiJson.Wire.PositionAnswer));
        await lines.EndAsync($"\"complete\":true,\"steps\":{lines.Count},\"from\":{first},\"to\":{last}", c);
    }

    private static LedgerException Missing(string what) =>
        new(ErrorCode.BadArgument, $"'{what}' is missing", "write ?volume=NAME&from=event:1&to=now");

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
