using BitmapLedger.Nbd;

namespace BitmapLedger.Agent;

/// <summary>Replies whose form depends on whether structured ones were agreed.</summary>
internal static class ReadReply
{
    /// <summary>Opens the reply of a READ that succeeds; its data follows.</summary>
    public static void Header(ReplyBuffer replies, in NbdRequest request, bool structured)
    {
        if (structured)
            replies.DataHeader(request.Cookie, request.Offset, request.Length);
        else
            replies.Simple(request.Cookie, 0);
    }

    public static void Error(ReplyBuffer replies, ulong cookie, int errno, string text, bool structured)
    {
        if (structured)
            replies.Error(cookie, errno, text);
        else
            replies.Simple(cookie, errno);
    }
}
