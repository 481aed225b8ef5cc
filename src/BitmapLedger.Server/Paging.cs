using BitmapLedger.Contracts;
using BitmapLedger.Ledger;

namespace BitmapLedger.Server;

/// <summary>Lists by the page: <c>?limit=N</c>, then <c>&amp;after=NAME</c> with the <c>next</c> of the page before.</summary>
internal static class Paging
{
    private const int LimitMax = 10_000;

    /// <summary>Cuts a page out of a list.</summary>
    /// <param name="all">The whole list, in its order.</param>
    /// <param name="name">What an element is called, each differently.</param>
    /// <param name="limit">Most elements of the page; null for all that are left.</param>
    /// <param name="after">Name of the last element of the page before; null for the first page.</param>
    /// <returns>The page, and its last name when there are more.</returns>
    /// <exception cref="LedgerException">The limit cannot be, or nothing has that name any more.</exception>
    public static (IReadOnlyList<T> Page, string? Next) Cut<T>(
        IReadOnlyList<T> all, Func<T, string> name, int? limit, string? after)
    {
        if (limit is < 1 or > LimitMax)
            throw new LedgerException(ErrorCode.BadArgument, $"{limit} is no limit", $"take 1 to {LimitMax}");
        var start = 0;
        if (after is not null)
        {
            while (start < all.Count && name(all[start]) != after)
                start++;
            if (start++ == all.Count)
                throw new LedgerException(ErrorCode.BadArgument, $"after '{after}': it is not in the list", "begin again without after");
        }

        List<T> page = [.. all.Skip(start).Take(limit ?? int.MaxValue)];
        return (page, start + page.Count < all.Count ? name(page[^1]) : null);
    }
}
