namespace BitmapLedger.Nbd;

/// <summary>Which meta contexts a list of queries means.</summary>
public static class MetaQuery
{
    /// <summary>The contexts that match, in the server's order, with the ids they get.</summary>
    /// <param name="contexts">What there is.</param>
    /// <param name="queries">What the client asked for.</param>
    /// <param name="forList">In LIST no query means all, and a query that ends with a colon means all below it; in SET
    /// neither selects anything. What nobody knows is passed over in silence.</param>
    public static IReadOnlyList<(uint Id, IMetaContext Context)> Match(
        IReadOnlyList<IMetaContext> contexts, IReadOnlyList<string> queries, bool forList)
    {
        List<(uint, IMetaContext)> found = [];
        for (var i = 0; i < contexts.Count; i++)
        {
            var name = contexts[i].Name;
            if ((forList && queries.Count == 0) || queries.Any(q => Matches(name, q, forList)))
                found.Add(((uint)i, contexts[i]));
        }

        return found;
    }

    /// <summary>Whether a context is one that a query means.</summary>
    /// <param name="name">Name of the context.</param>
    /// <param name="query">What the client asked for.</param>
    /// <param name="forList">In LIST a query that ends with a colon means all below it.</param>
    public static bool Matches(string name, string query, bool forList) =>
        string.Equals(name, query, StringComparison.Ordinal)
        || (forList && query.EndsWith(':') && name.StartsWith(query, StringComparison.Ordinal));
}
