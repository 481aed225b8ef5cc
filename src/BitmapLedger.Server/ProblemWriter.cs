using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Server;

/// <summary>Turns failures into problem+json, in one place.</summary>
internal sealed partial class ProblemWriter(RequestDelegate next, ILogger<ProblemWriter> log)
{
    public async Task InvokeAsync(HttpContext context)
    {
        try
        {
            await next(context);
        }
        catch (Exception failure) when (!context.Response.HasStarted && !context.RequestAborted.IsCancellationRequested)
        {
            var problem = Describe(failure);
            if (problem.Code == ErrorCode.Bug)
                Unexpected(failure, context.Request.Path);
            context.Response.StatusCode = problem.Status;
            await context.Response.WriteAsJsonAsync(problem, ApiJson.Default.Problem, "application/problem+json");
        }
    }

    private static Problem Describe(Exception failure) => failure switch
    {
        LedgerException e => Of(e.Code, e.Message, e.Hint, e.KeptFrom),
        BitmapLedgerException e => Of(e.Code, e.Message),
        BadHttpRequestException e => Of(ErrorCode.BadArgument, e.InnerException?.Message ?? e.Message),
        _ when failure.GetBaseException() is CorruptionException e => Of(e.Code, e.Message),
        _ when PostgresWatch.IsOutage(failure) => Describe(PostgresWatch.Busy(failure.GetBaseException().Message)),
        _ => Of(ErrorCode.Bug, failure.Message, "this is a bug; log/server.log has more"),
    };

    private static Problem Of(string code, string detail, string? hint = null, string? keptFrom = null) =>
        new(code, Status(code), detail, code, hint, keptFrom);

    private static int Status(string code) => code switch
    {
        ErrorCode.NotFound => StatusCodes.Status404NotFound,
        ErrorCode.Exists => StatusCodes.Status409Conflict,
        ErrorCode.Busy => StatusCodes.Status503ServiceUnavailable,
        ErrorCode.BadArgument or ErrorCode.BadPoint => StatusCodes.Status400BadRequest,
        ErrorCode.HistoryGone => StatusCodes.Status410Gone,
        ErrorCode.Damaged or ErrorCode.Bug => StatusCodes.Status500InternalServerError,
        _ => StatusCodes.Status422UnprocessableEntity,
    };

    [LoggerMessage(Level = LogLevel.Error, Message = "unexpected failure of {Path}")]
    private partial void Unexpected(Exception failure, string path);
}
