using BitmapLedger.Domain.Queries;
using CsCheck;

namespace BitmapLedger.Domain.Tests;

/// <summary>Which nodes make up a stretch of a stream, and when each is sealed.</summary>
public sealed class UnionTreeTests
{
    [Fact]
    public void A_cover_is_exactly_its_events_in_order_of_sealed_nodes_and_few_of_each_level()
    {
        Gen.Select(Gen.Long[0, 20_000], Gen.Long[0, 20_000], Gen.Long[0, 20_000]).Sample((a, b, sealedEvent) =>
        {
            var (after, through) = (Math.Min(a, b), Math.Max(a, b));

            var cover = UnionTree.Cover(after, through, sealedEvent).ToList();

            var next = after + 1;
            foreach (var node in cover)
            {
                Assert.Equal(next, node.First);
                Assert.Equal(0, (node.First - 1) % node.Length);
                Assert.True(node.Level == 0 || node.Last <= sealedEvent);
                next = node.Last + 1;
            }

            Assert.Equal(through + 1, next);
            foreach (var level in cover.Where(n => n.Last <= sealedEvent).GroupBy(n => n.Level))
                Assert.InRange(level.Count(), 1, 2 * (UnionTree.Fanout - 1));
        }, iter: 300);
    }

    // Method: the least number of nodes for every stretch of 600 events, found by trying every node that can come last.
    [Fact]
    public void No_other_choice_of_nodes_is_smaller()
    {
        const int events = 600;
        for (var after = 0; after < events; after += 7)
        {
            var least = new int[events + 1];
            for (var through = after + 1; through <= events; through++)
            {
                least[through] = int.MaxValue;
                for (var level = 0; UnionTree.LengthOf(level) <= through - after; level++)
                    if ((through - UnionTree.LengthOf(level)) % UnionTree.LengthOf(level) == 0)
                        least[through] = Math.Min(least[through], least[through - UnionTree.LengthOf(level)] + 1);
                Assert.Equal(least[through], UnionTree.Cover(after, through, events).Count());
            }
        }
    }

    [Fact]
    public void Every_node_is_sealed_once_behind_its_children_however_the_events_come()
    {
        Gen.Int[1, 700].Array[1, 12].Sample(pages =>
        {
            List<TreeNode> nodes = [];
            var happened = 0L;
            foreach (var page in pages)
            {
                nodes.AddRange(UnionTree.SealedBy(happened, happened + page));
                happened += page;
                Assert.All(nodes, n => Assert.True(n.Last <= happened));
            }

            Assert.Equal(nodes.Count, nodes.Distinct().Count());
            for (var level = 1; level <= UnionTree.LevelMax; level++)
                Assert.Equal(happened / UnionTree.LengthOf(level), nodes.Count(n => n.Level == level));
            var place = nodes.Index().ToDictionary(n => n.Item, n => n.Index);
            Assert.All(nodes.Where(n => n.Level > 1), n => Assert.All(n.Children, c => Assert.True(place[c] < place[n])));
        }, iter: 60);
    }

    [Fact]
    public void The_children_of_a_node_are_its_events_in_order()
    {
        var node = new TreeNode(3, 4096 * 5 + 1);

        var children = node.Children.ToList();

        Assert.Equal(node.First, children[0].First);
        Assert.Equal(node.Last, children[^1].Last);
        Assert.Equal(children.Skip(1).Select(c => c.First), children.SkipLast(1).Select(c => c.Last + 1));
        Assert.Equal(UnionTree.Cover(node.First - 1, node.Last, node.First), children.SelectMany(c => c.Children).SelectMany(c => c.Children));
    }
}
