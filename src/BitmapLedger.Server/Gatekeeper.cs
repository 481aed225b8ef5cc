using System.Security.Cryptography;
using System.Text;
using BitmapLedger.Contracts;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Server;

/// <summary>The token of TCP clients, in a file that only its user may read.</summary>
internal sealed class GatekeeperToken
{
    public GatekeeperToken(string dataDirectory)
    {
        var path = ServerFiles.Token(dataDirectory);
        Expected = Encoding.ASCII.GetBytes("Bearer " + (Kept(path) ?? Made(path)));
    }

    public byte[] Expected { get; }

    /// <summary>The token that is there; null when there is none, or what a power loss left of one that was never synced: nothing,
    /// or zeroes.</summary>
    private static string? Kept(string path) =>
        File.Exists(path) && File.ReadAllText(path).Trim() is { Length: > 0 } kept && kept.All(c => c is > ' ' and <= '~') ? kept : null;

    private static string Made(string path)
    {
        var token = RandomNumberGenerator.GetHexString(64, lowercase: true);
        var next = path + ".next";
        File.Delete(next);
        using (var file = new FileStream(next, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        }))
            file.Write(Encoding.ASCII.GetBytes(token));
        File.Move(next, path, overwrite: true);
        return token;
    }
}

/// <summary>The unix socket's mode guards it; over TCP another local user is a stranger and shows the token.</summary>
internal sealed class Gatekeeper(RequestDelegate next, GatekeeperToken token)
{
    public Task InvokeAsync(HttpContext context)
    {
        var overTcp = context.Connection.LocalIpAddress is not null && context.Connection.LocalPort != 0;
        if (!overTcp || context.Request.Path.StartsWithSegments(
            "/health", StringComparison.Ordinal) || ShowsToken(context.Request))
            return next(context);
        context.Response.Headers.WWWAuthenticate = "Bearer";
        throw new LedgerException(
            ErrorCode.Unauthorized, "HTTP over TCP wants the token of this ledger", "send Authorization: Bearer with the text of run/http.token");
    }

    /// <summary>Who commands, for the event's metadata.</summary>
    public static CommandOrigin Origin(HttpContext context)
    {
        var id = context.Request.Headers["Idempotency-Key"].ToString();
        if (id.Length > 64)
            throw new LedgerException(
                ErrorCode.BadArgument, $"a command id of {id.Length} characters is longer than 64");
        var actor = context.Connection.LocalPort == 0 ? Environment.UserName : "token";
        var client = context.Request.Headers.UserAgent.ToString();
        return new(actor, client.Length == 0 ? "http" : client, id.Length == 0 ? null : id)
        {
            ExpectedEvent = EntityTag.Expected(context.Request),
        };
    }

    private bool ShowsToken(HttpRequest request) => CryptographicOperations.FixedTimeEquals(
        Encoding.ASCII.GetBytes(request.Headers.Authorization.ToString()), token.Expected);
}
