using System.Numerics;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>
/// How long rotations kept the gate closed. Eight buckets for each doubling from 1 µs on, so a quantile is at most an
/// eighth above the truth; the longest is kept exactly. One writer at a time, readers at any time.
/// </summary>
public sealed class StallHistogram
{
    private const int BucketsPerDoubling = 8;
    private const int DoublingBits = 3;

    /// <summary>Up to 2^32 µs, more than an hour: the gate gives up after seconds.</summary>
    private const int Doublings = 32;

    private readonly long[] _counts = new long[Doublings * BucketsPerDoubling];
    private long _count;
    private long _longest;

    /// <summary>Rotations so far.</summary>
    public long Count => Volatile.Read(ref _count);

    /// <summary>The longest, in microseconds.</summary>
    public long LongestMicroseconds => Volatile.Read(ref _longest);

    /// <summary>Counts one.</summary>
    /// <param name="microseconds">How long it was; more than an hour counts as an hour.</param>
    public void Record(long microseconds)
    {
        Interlocked.Increment(ref _counts[Bucket(microseconds)]);
        Volatile.Write(ref _longest, Math.Max(_longest, microseconds));
        Interlocked.Increment(ref _count);
    }

    /// <summary>Not less than what <paramref name="share"/> of the rotations took; 0 when there were none.</summary>
    /// <param name="share">Above 0, up to 1: 0.99 for the 99th percentile.</param>
    public long QuantileMicroseconds(double share)
    {
        var wanted = (long)Math.Ceiling(Count * share);
        var seen = 0L;
        for (var bucket = 0; bucket < _counts.Length && wanted > 0; bucket++)
        {
            seen += Volatile.Read(ref _counts[bucket]);
            if (seen >= wanted)
                return Math.Min(Upper(bucket), LongestMicroseconds);
        }

        return wanted > 0 ? LongestMicroseconds : 0;
    }

    // Values below 8 have a bucket each; above, the three bits behind the highest one choose among eight.
    private static int Bucket(long microseconds)
    {
        var value = (ulong)Math.Clamp(microseconds, 0, uint.MaxValue);
        if (value < BucketsPerDoubling)
            return (int)value;
        var doubling = BitOperations.Log2(value) - DoublingBits;
        return ((doubling + 1) * BucketsPerDoubling) + (int)((value >> doubling) & (BucketsPerDoubling - 1));
    }

    private static long Upper(int bucket)
    {
        if (bucket < BucketsPerDoubling)
            return bucket;
        var doubling = (bucket / BucketsPerDoubling) - 1;
        return (((long)(bucket % BucketsPerDoubling) + BucketsPerDoubling + 1) << doubling) - 1;
    }
}
