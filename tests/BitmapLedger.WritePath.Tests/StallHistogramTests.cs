using BitmapLedger.WritePath.Tracking;
using CsCheck;

namespace BitmapLedger.WritePath.Tests;

public sealed class StallHistogramTests
{
    [Fact]
    public void A_quantile_is_at_most_an_eighth_above_the_truth_and_never_below()
    {
        Gen.Long[0, 10_000_000].Array[1, 200].Sample(stalls =>
        {
            var histogram = new StallHistogram();
            foreach (var stall in stalls)
                histogram.Record(stall);

            var sorted = stalls.Order().ToArray();
            foreach (var share in new[] { 0.01, 0.5, 0.99, 1 })
            {
                var truth = sorted[Math.Max(0, (int)Math.Ceiling(sorted.Length * share) - 1)];
                Assert.InRange(histogram.QuantileMicroseconds(share), truth, truth + (truth / 8));
            }

            Assert.Equal(sorted[^1], histogram.LongestMicroseconds);
            Assert.Equal(sorted.Length, histogram.Count);
        });
    }

    [Fact]
    public void Without_a_rotation_there_is_no_stall() => Assert.Equal(0, new StallHistogram().QuantileMicroseconds(0.99));
}
