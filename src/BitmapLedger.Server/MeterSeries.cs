using System.Diagnostics.Metrics;
using BitmapLedger.Ledger.Measuring;
using Prometheus;

namespace BitmapLedger.Server;

/// <summary>
/// The ledger's meter as series of Prometheus, named as OpenTelemetry's rules for Prometheus name them: the unit behind the
/// name, <c>_total</c> behind a counter. Any thread.
/// </summary>
internal sealed class MeterSeries : IDisposable
{
    private readonly CollectorRegistry _registry = Metrics.NewCustomRegistry();
    private readonly MetricFactory _metrics;
    private readonly MeterListener _listener = new();

    public MeterSeries()
    {
        _metrics = Metrics.WithCustomRegistry(_registry);
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter.Name == LedgerTelemetry.Name)
                listener.EnableMeasurementEvents(instrument);
        };
        _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Take(instrument, value, tags));
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Take(instrument, value, tags));
        _listener.Start();
    }

    /// <summary>Writes what was counted so far.</summary>
    public async Task WriteAsync(Stream target, CancellationToken cancellation)
    {
        _listener.RecordObservableInstruments();
        await _registry.CollectAndExportAsTextAsync(target, cancellation);
    }

    public void Dispose() => _listener.Dispose();

    /// <summary>Name of an instrument's series.</summary>
    private static string NameOf(Instrument instrument, string suffix)
    {
        var unit = instrument.Unit switch { "s" => "_seconds", "By" => "_bytes", _ => "" };
        return instrument.Name.Replace('.', '_') + unit + suffix;
    }

    private void Take(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        var (names, values) = (new string[tags.Length], new string[tags.Length]);
        for (var i = 0; i < tags.Length; i++)
            (names[i], values[i]) = (tags[i].Key, $"{tags[i].Value}");
        var help = instrument.Description ?? "";
        switch (instrument)
        {
            case Counter<long>:
                _metrics.CreateCounter(NameOf(instrument, "_total"), help, names).WithLabels(values).Inc(value);
                break;
            case Histogram<long> whole:
                Observe([.. whole.Advice!.HistogramBucketBoundaries!.Select(b => (double)b)]);
                break;
            case Histogram<double> real:
                Observe([.. real.Advice!.HistogramBucketBoundaries!]);
                break;
            default:
                _metrics.CreateGauge(NameOf(instrument, ""), help, names).WithLabels(values).Set(value);
                break;
        }

        void Observe(double[] buckets) => _metrics.CreateHistogram(
            NameOf(instrument, ""), help, names, new HistogramConfiguration { Buckets = buckets }).WithLabels(values).Observe(value);
    }
}
