using BitmapLedger.Contracts.Control;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Storing;
using Prometheus;

namespace BitmapLedger.Server;

/// <summary>
/// <c>GET /metrics</c> in Prometheus' text format: what the server has counted, and what the Agent says at the scrape. Nothing
/// is asked of PostgreSQL, so that the page is there when it is needed most; a volume that is gone leaves no series behind.
/// </summary>
internal sealed class MetricsPage(IAgent agent, PostgresWatch postgres, MeterSeries meters, TimeProvider clock)
{
    private const long BytesPerWriteInJournal = 64;

    private static readonly string[] _perVolume = ["volume"];

    public static void Map(WebApplication app)
    {
        // Made before anything is counted: the first scrape may be late.
        app.Services.GetRequiredService<MeterSeries>();
        app.MapGet("/metrics", (MetricsPage page, HttpContext http) => page.WriteAsync(http))
            .WithSummary("Metrics in the text format of Prometheus").Produces<string>(contentType: "text/plain");
    }

    private async Task WriteAsync(HttpContext http)
    {
        var registry = Metrics.NewCustomRegistry();
        var metrics = Metrics.WithCustomRegistry(registry);
        var welcome = await AgentAsync(http.RequestAborted);
        metrics.CreateGauge("bitmapledger_agent_up", "1 while the agent answers.").Set(welcome is null ? 0 : 1);
        metrics.CreateGauge("bitmapledger_postgres_up", "1 while PostgreSQL answers.")
            .Set(await postgres.LookAsync(http.RequestAborted) ? 1 : 0);
        foreach (var volume in welcome?.Volumes ?? [])
            Add(metrics, volume);
        http.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
        await registry.CollectAndExportAsTextAsync(http.Response.Body, http.RequestAborted);
        await meters.WriteAsync(http.Response.Body, http.RequestAborted);
    }

    private void Add(MetricFactory metrics, VolumeStatus volume)
    {
        var use = volume.Use;
        Set("last_lsn", "LSN of the last write.", volume.LastLsn);
        Set("shipped_lsn", "LSN of the last write that the ledger has.", use.ShippedLsn);
        Set("unshipped_bytes", "Bytes of journal records that the ledger has not got.", (volume.LastLsn - use.ShippedLsn) * BytesPerWriteInJournal);
        Set("unshipped_seconds", "Age of the oldest write that the ledger has not got, or a little more.", use.WaitingSeconds(clock.GetUtcNow()));
        Set("journal_used_bytes", "Bytes of journal records that are not freed yet.", use.UsedBytes);
        Set("journal_quota_bytes", "Most bytes that they may take.", use.QuotaBytes);
        Set("journal_full", "1 while writes are held or refused because the quota is used up.", use.IsFull ? 1 : 0);
        Set("connections", "NBD clients connected.", volume.Connections);
        metrics.CreateCounter("bitmapledger_volume_rotations_total", "Rotations since the agent started.", _perVolume)
            .WithLabels(volume.Name).IncTo(volume.Rotations.Count);
        Stall("0.5", volume.Rotations.MedianMicroseconds);
        Stall("0.99", volume.Rotations.P99Microseconds);
        Stall("1", volume.Rotations.LongestMicroseconds);

        void Set(string name, string help, double value) =>
            metrics.CreateGauge("bitmapledger_volume_" + name, help, _perVolume).WithLabels(volume.Name).Set(value);

        void Stall(string quantile, long microseconds) => metrics.CreateGauge(
            "bitmapledger_volume_rotation_stall_seconds",
            "How long rotations kept writers out since the agent started; quantile 1 is the longest.", "volume", "quantile")
            .WithLabels(volume.Name, quantile).Set(microseconds / 1e6);
    }

    private async Task<Welcome?> AgentAsync(CancellationToken cancellation)
    {
        try
        {
            return await agent.StatusAsync(cancellation);
        }
        catch (LedgerException)
        {
            // Said by agent_up.
            return null;
        }
    }
}
