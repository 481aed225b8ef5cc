using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>Numbers of events, kept as stretches: a long tail that no node stands for takes no more than a short one.</summary>
internal sealed class EventStretches
{
    private readonly List<(long First, long Last)> _stretches = [];

    /// <summary>Adds an event; one that is in stays in once.</summary>
    public void Add(long number)
    {
        if (_stretches is [.., var (first, last)] && number >= first && number <= last + 1)
            _stretches[^1] = (first, Math.Max(last, number));
        else
            _stretches.Add((number, number));
    }

    /// <summary>Adds the single events among some nodes.</summary>
    /// <returns>The others.</returns>
    public HashSet<TreeNode> AddLeavesOf(IEnumerable<TreeNode> nodes)
    {
        HashSet<TreeNode> inner = [];
        foreach (var node in nodes)
            if (node.Level == 0)
                Add(node.First);
            else
                inner.Add(node);
        return inner;
    }

    /// <summary>The stretches, oldest first, none touching another.</summary>
    public IEnumerable<(long First, long Last)> Merged()
    {
        (long First, long Last)? open = null;
        foreach (var next in _stretches.Order())
        {
            if (open is { } so && next.First <= so.Last + 1)
            {
                open = (so.First, Math.Max(so.Last, next.Last));
                continue;
            }

            if (open is { } done)
                yield return done;
            open = next;
        }

        if (open is { } last)
            yield return last;
    }
}
