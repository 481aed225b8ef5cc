using System.Collections;
using System.Diagnostics.Metrics;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Measuring;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace BitmapLedger.Server;

/// <summary>Sends metrics and spans over OTLP where the standard variables name a collector
/// (<c>OTEL_EXPORTER_OTLP_ENDPOINT</c> and its kin); otherwise nothing of it is there.</summary>
internal static class TelemetryExport
{
    private const string Prefix = "OTEL_";

    private static readonly string[] _endpoints =
        ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

    public static void AddExport(this WebApplicationBuilder builder)
    {
        if (!_endpoints.Any(e => Environment.GetEnvironmentVariable(e) is { Length: > 0 }))
            return;
        // The server reads no other variables; these are the exporter's.
        builder.Configuration.AddInMemoryCollection(Environment.GetEnvironmentVariables().Cast<DictionaryEntry>()
            .Where(v => ((string)v.Key).StartsWith(Prefix, StringComparison.Ordinal))
            .Select(v => KeyValuePair.Create((string)v.Key, (string?)v.Value)));
        builder.Services.AddHostedService<AgentSampler>();
        builder.Services.AddOpenTelemetry()
            .ConfigureResource(r => r.AddService("bitmapledger").AddEnvironmentVariableDetector())
            .WithMetrics(m => m.AddMeter(LedgerTelemetry.Name, AgentSampler.MeterName, "Npgsql").AddOtlpExporter())
            // Without the request's own span, which would then be one that is not sampled, no span inside it is sampled either.
            .WithTracing(t => t.AddSource(LedgerTelemetry.Name, "Microsoft.AspNetCore").AddOtlpExporter());
    }

    /// <summary>Asks the Agent now and then: what is pushed must be known before it is asked for.</summary>
    private sealed class AgentSampler(IAgent agent, TimeProvider clock) : BackgroundService
    {
        public const string MeterName = "BitmapLedger.Agent";

        private static readonly TimeSpan _pause = TimeSpan.FromSeconds(5);
        private readonly Meter _meter = new(MeterName);

        public override void Dispose()
        {
            _meter.Dispose();
            base.Dispose();
        }

        protected override async Task ExecuteAsync(CancellationToken stoppingToken)
        {
            var writes = _meter.CreateGauge<long>("bitmapledger.volume.unshipped.writes", "{write}", "Writes that the ledger has not got.");
            var age = _meter.CreateGauge<double>("bitmapledger.volume.unshipped.age", "s", "Age of the oldest write that the ledger has not got.");
            var used = _meter.CreateGauge<long>("bitmapledger.volume.journal.used", "By", "Bytes of journal records that are not freed yet.");
            var stall = _meter.CreateGauge<double>(
                "bitmapledger.volume.rotation.stall", "s", "How long rotations kept writers out since the agent started: the longest.");
            while (!stoppingToken.IsCancellationRequested)
            {
                foreach (var volume in await VolumesAsync(stoppingToken))
                {
                    var tag = KeyValuePair.Create("volume", (object?)volume.Name);
                    writes.Record(volume.LastLsn - volume.Use.ShippedLsn, tag);
                    age.Record(volume.Use.WaitingSeconds(clock.GetUtcNow()), tag);
                    used.Record(volume.Use.UsedBytes, tag);
                    stall.Record(volume.Rotations.LongestMicroseconds / 1e6, tag);
                }

                await Task.Delay(_pause, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }

        private async Task<IReadOnlyList<Contracts.Control.VolumeStatus>> VolumesAsync(CancellationToken cancellation)
        {
            try
            {
                return (await agent.StatusAsync(cancellation)).Volumes;
            }
            catch (Exception away) when (away is LedgerException or OperationCanceledException)
            {
                return [];
            }
        }
    }
}
