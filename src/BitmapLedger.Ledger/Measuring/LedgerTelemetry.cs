using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace BitmapLedger.Ledger.Measuring;

/// <summary>What the ledger tells whoever measures it: a meter and a source of activities, both named
/// <see cref="Name"/>. Any thread; free while nobody listens.</summary>
public static class LedgerTelemetry
{
    /// <summary>Name of the meter and of the source.</summary>
    public const string Name = "BitmapLedger";

    private static readonly Meter _meter = new(Name);
    private static readonly double[] _durations = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
    private static readonly long[] _batches = [1, 4, 16, 64, 256, 1024, 4096, 8192, 16_384, 65_536];

    /// <summary>Spans of questions, shipments and rebuilds.</summary>
    public static ActivitySource Source { get; } = new(Name);

    /// <summary>Writes in the ledger since the server started.</summary>
    public static Counter<long> ShippedWrites { get; } = _meter.CreateCounter<long>(
        "bitmapledger.shipped.writes", "{write}", "Writes shipped to the ledger since the server started.");

    /// <summary>Bytes that they are packed in: divided by the writes, bytes a write.</summary>
    public static Counter<long> ShippedBytes { get; } = _meter.CreateCounter<long>(
        "bitmapledger.shipped", "By", "Bytes of the events that these writes are packed in, before PostgreSQL adds its own.");

    /// <summary>Writes of one event.</summary>
    public static Histogram<long> BatchWrites { get; } = _meter.CreateHistogram(
        "bitmapledger.shipping.batch.writes", "{write}", "Writes packed into one event.",
        advice: new InstrumentAdvice<long> { HistogramBucketBoundaries = _batches });

    /// <summary>How long one append of the shipper takes, its commit included.</summary>
    public static Histogram<double> CommitSeconds { get; } = Durations(
        "bitmapledger.shipping.commit.duration", "How long one append of shipped writes takes, its commit included.");

    /// <summary>From the commit of an event until a projection has it; tag <c>projection</c>.</summary>
    public static Histogram<double> LagSeconds { get; } = Durations(
        "bitmapledger.projection.lag", "From the commit of events until a projection has them.");

    /// <summary>How long a question takes until all of its answer is sent; tag <c>query</c>.</summary>
    public static Histogram<double> QuerySeconds { get; } = Durations(
        "bitmapledger.query.duration", "How long a question takes until all of its answer is sent.");

    /// <summary>Says how long each projection has kept what was appended waiting; called at each look.</summary>
    internal static ObservableGauge<double> ObserveWaiting(Func<IEnumerable<Measurement<double>>> waiting) => _meter.CreateObservableGauge(
        "bitmapledger.projection.waiting", waiting, "s", "How long the oldest event that a projection has not got has waited.");

    private static Histogram<double> Durations(string name, string description) => _meter.CreateHistogram(
        name, "s", description, advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = _durations });
}
