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
            if (!context.Response.HasStarted && Unanswered(context) is { } unanswered)
                await WriteAsync(context, unanswered);
        }
        catch (Exception) when (context.RequestAborted.IsCancellationRequested)
        {
            // Nobody is there to be told.
        }
        catch (Exception failure) when (!context.Response.HasStarted)
        {
            var problem = Describe(failure);
            if (problem.Code == ErrorCode.Bug)
                Unexpected(failure, context.Request.Path);
            await WriteAsync(context, problem);
        }
    }

    private static Task WriteAsync(HttpContext context, Problem problem)
    {
        context.Response.StatusCode = problem.Status;
        return context.Response.WriteAsJsonAsync(problem, ApiJson.Wire.Problem, "application/problem+json");
    }

    /// <summary>What routing turns down, it turns down without a word.</summary>
    private static Problem? Unanswered(HttpContext context) => context.Response.StatusCode switch
    {
        StatusCodes.Status404NotFound => Of(ErrorCode.NotFound, $"there is no '{context.Request.Path.Value}'"),
        StatusCodes.Status405MethodNotAllowed => Of(
            ErrorCode.BadArgument, $"'{context.Request.Path.Value}' does not take {context.Request.Method}") with
        {
            Status = StatusCodes.Status405MethodNotAllowed,
        },
        _ => null,
    };

    /// <summary>A parameter that does not read as its type: ASP.NET names types of ours, people want theirs.</summary>
    private static Problem BadRequest(BadHttpRequestException refusal)
    {
        // Failed to bind parameter "Nullable<long> offset" from "abc".
        var words = refusal.Message.Split('"');
        return refusal.Message.StartsWith("Failed to bind parameter", StringComparison.Ordinal) && words.Length >= 5
            ? Of(ErrorCode.BadArgument, $"'{string.Join('"', words[3..^1])}' is no {words[1].Split(' ')[^1]}")
            : Of(ErrorCode.BadArgument, refusal.InnerException?.Message ?? refusal.Message) with { Status = refusal.StatusCode };
    }

    private static Problem Describe(Exception failure) => failure switch
    {
        ExpectationException e => Of(e.Code, e.Message, ExpectationException.Hint) with
        {
            Status = StatusCodes.Status412PreconditionFailed,
        },
        LedgerException e => Of(e.Code, e.Message, e.Hint, e.KeptFrom),
        BitmapLedgerException e => Of(e.Code, e.Message),
        BadHttpRequestException e => BadRequest(e),
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
        ErrorCode.Unauthorized => StatusCodes.Status401Unauthorized,
        ErrorCode.HistoryGone => StatusCodes.Status410Gone,
        ErrorCode.Damaged or ErrorCode.Bug => StatusCodes.Status500InternalServerError,
        _ => StatusCodes.Status422UnprocessableEntity,
    };

    [LoggerMessage(Level = LogLevel.Error, Message = "unexpected failure of {Path}")]
    private partial void Unexpected(Exception failure, string path);
}
