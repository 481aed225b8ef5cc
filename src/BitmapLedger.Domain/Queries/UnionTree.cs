namespace BitmapLedger.Domain.Queries;

/// <summary>A node of the union tree: it stands for 16^<paramref name="Level"/> events.</summary>
/// <param name="Level">0 is a single event, which needs no row: it is in the stream.</param>
/// <param name="First">Number of its first event; one more than a multiple of its length.</param>
public readonly record struct TreeNode(int Level, long First)
{
    /// <summary>How many events it stands for.</summary>
    public long Length => UnionTree.LengthOf(Level);

    /// <summary>Number of its last event; it is sealed when that has happened, and never changes after.</summary>
    public long Last => First + Length - 1;

    /// <summary>The 16 nodes below it, oldest first. Level 1 and above.</summary>
    public IEnumerable<TreeNode> Children
    {
        get
        {
            var length = UnionTree.LengthOf(Level - 1);
            for (var child = 0; child < UnionTree.Fanout; child++)
                yield return new(Level - 1, First + child * length);
        }
    }
}

/// <summary>
/// Which nodes there are over a stream, and which of them make up a stretch of it. Pure arithmetic on event numbers: the
/// same for every volume, and never different when more happens.
/// </summary>
public static class UnionTree
{
    /// <summary>Children of a node.</summary>
    public const int Fanout = 16;

    /// <summary>Highest level: 16^15 events are more than a stream can number.</summary>
    public const int LevelMax = 15;

    private const int FanoutShift = 4;

    /// <summary>Events that a node of a level stands for.</summary>
    public static long LengthOf(int level) => 1L << (FanoutShift * level);

    /// <summary>
    /// The fewest nodes that are exactly the events after one number up to and including another, oldest first: at most 15
    /// of a level at each edge.
    /// </summary>
    /// <param name="afterEvent">The last event that is out; 0 or more.</param>
    /// <param name="throughEvent">The last event that is in.</param>
    /// <param name="sealedEvent">Behind it no node above level 0 is taken: there may be none yet.</param>
    public static IEnumerable<TreeNode> Cover(long afterEvent, long throughEvent, long sealedEvent)
    {
        for (var before = afterEvent; before < throughEvent;)
        {
            var level = 0;
            var end = Math.Min(throughEvent, sealedEvent);
            while (level < LevelMax && before % LengthOf(level + 1) == 0 && before + LengthOf(level + 1) <= end)
                level++;
            yield return new(level, before + 1);
            before += LengthOf(level);
        }
    }

    /// <summary>The nodes above level 0 that an event is in, children before their parent.</summary>
    /// <param name="number">Number of the event.</param>
    public static IEnumerable<TreeNode> Above(long number)
    {
        for (var level = 1; level <= LevelMax; level++)
            yield return new(level, (number - 1) / LengthOf(level) * LengthOf(level) + 1);
    }

    /// <summary>The nodes above level 0 that are sealed by the events after one number up to and including another,
    /// children before their parent.</summary>
    /// <param name="afterEvent">The last event before.</param>
    /// <param name="throughEvent">The last event that is in.</param>
    public static IEnumerable<TreeNode> SealedBy(long afterEvent, long throughEvent)
    {
        for (var last = (afterEvent / Fanout + 1) * Fanout; last <= throughEvent; last += Fanout)
            for (var level = 1; level <= LevelMax && last % LengthOf(level) == 0; level++)
                yield return new(level, last - LengthOf(level) + 1);
    }
}
