using System.Text;
using BitmapLedger.Contracts;
using BitmapLedger.Ledger;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.Metadata;

namespace BitmapLedger.Server;

/// <summary>
/// Names are whole segments of a path. Kestrel takes <c>..</c> for a step back even when it is escaped, and leaves an escaped
/// slash as it is; then a bitmap called <c>..</c> would name its volume. So routes see the path as it was sent, and names are
/// unescaped when a route is found.
/// </summary>
internal static class RawPath
{
    /// <summary>Before routing: the path as it was sent.</summary>
    public static Task TakeAsync(HttpContext context, RequestDelegate next)
    {
        var target = context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget;
        if (target.StartsWith('/'))
            context.Request.Path = new(target.Split('?', 2)[0]);
        return next(context);
    }

    /// <summary>After routing: the names.</summary>
    /// <exception cref="LedgerException">A name is no UTF-8, or a query says what nobody asks for.</exception>
    public static Task UnescapeAsync(HttpContext context, RequestDelegate next)
    {
        foreach (var (name, value) in context.Request.RouteValues.Where(v => v.Value is string).ToList())
            context.Request.RouteValues[name] = Unescape((string)value!);
        RefuseUnknownQuery(context);
        return next(context);
    }

    /// <summary>Percent escapes as UTF-8, strictly.</summary>
    internal static string Unescape(string segment)
    {
        if (!segment.Contains('%'))
            return segment;
        var bytes = new List<byte>(segment.Length);
        for (var i = 0; i < segment.Length; i++)
        {
            if (segment[i] != '%')
                bytes.Add((byte)segment[i]);
            else if (i + 2 < segment.Length && char.IsAsciiHexDigit(segment[i + 1]) && char.IsAsciiHexDigit(segment[i + 2]))
                bytes.Add(Convert.ToByte(segment.Substring((i += 2) - 1, 2), 16));
            else
                throw new LedgerException(ErrorCode.BadArgument, $"'{segment}' has a % that begins no escape", "write %25");
        }

        try
        {
            var name = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString([.. bytes]);
            return !name.Contains('\0') ? name : throw new LedgerException(
                ErrorCode.BadArgument, $"'{segment}' holds a zero character, which no name may");
        }
        catch (DecoderFallbackException)
        {
            throw new LedgerException(ErrorCode.BadArgument, $"'{segment}' is not UTF-8", "write names in UTF-8");
        }
    }

    /// <summary>A misspelt parameter would quietly widen an answer.</summary>
    private static void RefuseUnknownQuery(HttpContext context)
    {
        if (context.Request.Query.Count == 0 || context.GetEndpoint() is not { } endpoint)
            return;
        var known = endpoint.Metadata.OfType<IParameterBindingMetadata>().Select(p => p.Name).ToList();
        if (known.Count > 0 && context.Request.Query.Keys.FirstOrDefault(k => !known.Contains(k)) is { } unknown)
            throw new LedgerException(ErrorCode.BadArgument, $"unknown query parameter '{unknown}'");
    }
}
