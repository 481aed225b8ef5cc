using System.Globalization;
using BitmapLedger.Contracts;
using BitmapLedger.Ledger;

namespace BitmapLedger.Server;

/// <summary>The tag of a volume, and of whatever belongs to it, is the number of the volume's last event.</summary>
internal static class EntityTag
{
    /// <summary>Says at which event an answer is, or which event a command appended.</summary>
    public static void Show(HttpContext context, long number) =>
        context.Response.Headers.ETag = string.Create(CultureInfo.InvariantCulture, $"\"{number}\"");

    /// <summary>The event of <c>If-Match</c>; null when there is none, or any will do.</summary>
    /// <exception cref="LedgerException">It is no number of an event.</exception>
    public static long? Expected(HttpRequest request)
    {
        var text = request.Headers.IfMatch.ToString();
        if (text is "" or "*")
            return null;
        return long.TryParse(text.Trim().Trim('"'), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw new LedgerException(
                ErrorCode.BadArgument, $"If-Match {text} is no event", "send the number of one event, as in If-Match: \"17\"");
    }
}
