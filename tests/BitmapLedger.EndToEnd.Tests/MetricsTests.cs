using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>What the server measures, as Prometheus scrapes it and as it is sent over OTLP.</summary>
public sealed partial class MetricsTests
{
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task A_scrape_is_well_formed_and_has_every_measure()
    {
        await using var ledger = await Ledger.StartAsync();
        await UseAsync(ledger);
        var asked = Stopwatch.StartNew();
        var page = Page.Read(await ledger.GetAsync("metrics"));
        while (page.Value("bitmapledger_projection_lag_seconds_count{projection=\"union-tree\"}") is null or 0)
        {
            Assert.True(asked.Elapsed < _limit, "no lag was measured");
            await Task.Delay(50);
            page = Page.Read(await ledger.GetAsync("metrics"));
        }

        Assert.Equal(12, page.Value("bitmapledger_shipped_writes_total"));
        Assert.InRange(page.Value("bitmapledger_shipped_bytes_total")!.Value, 12, 12 * 200);
        Assert.Equal(12, page.Value("bitmapledger_shipping_batch_writes_sum"));
        Assert.True(page.Value("bitmapledger_shipping_commit_duration_seconds_count") > 0);
        Assert.True(page.Value("bitmapledger_projection_lag_seconds_count{projection=\"bitmap-bits\"}") > 0);
        Assert.True(page.Value("bitmapledger_projection_lag_seconds_sum{projection=\"bitmap-bits\"}") < _limit.TotalSeconds);
        Assert.NotNull(page.Value("bitmapledger_projection_waiting_seconds{projection=\"bitmap-bits\"}"));
        foreach (var query in (string[])["changed", "history", "blame", "verify"])
            Assert.Equal(1, page.Value($"bitmapledger_query_duration_seconds_count{{query=\"{query}\"}}"));
        Assert.Equal(0, page.Value("bitmapledger_volume_unshipped_bytes{volume=\"v\"}"));
        Assert.NotNull(page.Value("bitmapledger_volume_unshipped_seconds{volume=\"v\"}"));
        Assert.True(page.Value("bitmapledger_volume_rotation_stall_seconds{volume=\"v\",quantile=\"1\"}") > 0);
        Assert.Equal(1, page.Value("bitmapledger_postgres_up"));
    }

    [Fact]
    public async Task Where_the_standard_variables_name_a_collector_metrics_and_spans_are_sent_there()
    {
        using var collector = new Collector();
        await using var ledger = await Ledger.StartAsync(l =>
        {
            l.Variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.Address;
            l.Variables["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf";
            l.Variables["OTEL_METRIC_EXPORT_INTERVAL"] = "200";
            l.Variables["OTEL_BSP_SCHEDULE_DELAY"] = "200";
            l.Variables["OTEL_RESOURCE_ATTRIBUTES"] = "deployment.environment=of-this-test";
            return [];
        });
        await UseAsync(ledger);

        await collector.GotAsync(
            "/v1/metrics", "bitmapledger.query.duration", "bitmapledger.shipped.writes", "bitmapledger.volume.unshipped.age", "of-this-test");
        await collector.GotAsync("/v1/traces", "query changed", "ship");
    }

    private static async Task UseAsync(Ledger ledger)
    {
        ledger.Json("volume", "create", "v", "--size", "1M");
        ledger.Json("bitmap", "add", "v", "b0");
        Tool.Run("nbdsh", "-u", ledger.Export("v"), "-c", "[h.pwrite(b'x' * 512, i * 4096) for i in range(12)]").Expect();
        ledger.Json("checkpoint", "create", "v", "c");
        ledger.Json("changed", "v", "--from", "start");
        ledger.Json("blame", "v", "--offset", "0");
        ledger.Json("history", "v");
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        // The history has at least one node of the union tree.
        for (var i = 0; i < 12; i++)
            ledger.Json("bitmap", "clear", "v", "b0");
        await ledger.AnswersAsync("volume", "list");
    }

    /// <summary>A page in Prometheus' text format, read as strictly as its description says.</summary>
    private sealed partial class Page
    {
        private readonly Dictionary<string, double> _samples = new(StringComparer.Ordinal);

        public double? Value(string series) => _samples.TryGetValue(series, out var value) ? value : null;

        public static Page Read(string text)
        {
            Assert.EndsWith("\n", text, StringComparison.Ordinal);
            var page = new Page();
            Dictionary<string, string> kinds = new(StringComparer.Ordinal);
            string? family = null;
            foreach (var line in text.Split('\n')[..^1])
            {
                if (Help().Match(line) is { Success: true } help)
                {
                    family = help.Groups["name"].Value;
                    Assert.DoesNotContain(family, kinds.Keys);
                    kinds[family] = "";
                }
                else if (Kind().Match(line) is { Success: true } kind)
                {
                    Assert.Equal(family, kind.Groups["name"].Value);
                    kinds[family!] = kind.Groups["kind"].Value;
                    Assert.Equal(kinds[family!] == "counter", family!.EndsWith("_total", StringComparison.Ordinal));
                }
                else
                {
                    page.Sample(line, family!, kinds[family!]);
                }
            }

            page.RequireHistograms(kinds.Where(k => k.Value == "histogram").Select(k => k.Key));
            return page;
        }

        private void Sample(string line, string family, string kind)
        {
            var sample = SampleLine().Match(line);
            Assert.True(sample.Success, line);
            var suffix = sample.Groups["name"].Value[family.Length..];
            Assert.StartsWith(family, sample.Groups["name"].Value, StringComparison.Ordinal);
            Assert.Contains(suffix, kind == "histogram" ? ["_bucket", "_sum", "_count"] : (string[])[""]);
            var value = sample.Groups["value"].Value == "+Inf" ? double.PositiveInfinity
                : double.Parse(sample.Groups["value"].Value, CultureInfo.InvariantCulture);
            Assert.True(_samples.TryAdd(sample.Groups["series"].Value, value), $"twice: {line}");
        }

        private void RequireHistograms(IEnumerable<string> families)
        {
            foreach (var family in families)
            {
                var buckets = _samples.Where(s => s.Key.StartsWith($"{family}_bucket{{", StringComparison.Ordinal))
                    .GroupBy(s => Bound().Replace(s.Key, "")).ToList();
                Assert.NotEmpty(buckets);
                foreach (var histogram in buckets)
                {
                    Assert.Equal(histogram.Select(b => b.Value).Order(), histogram.Select(b => b.Value));
                    var labels = histogram.Key[$"{family}_bucket".Length..];
                    Assert.Contains("le=\"+Inf\"", histogram.Last().Key, StringComparison.Ordinal);
                    Assert.Equal(histogram.Last().Value, Value($"{family}_count{(labels == "{}" ? "" : labels)}"));
                }
            }
        }

        [GeneratedRegex(@"^# HELP (?<name>[a-z_][a-z0-9_]*) \S.*$", RegexOptions.None, 10_000)]
        private static partial Regex Help();

        [GeneratedRegex(@"^# TYPE (?<name>[a-z_][a-z0-9_]*) (?<kind>counter|gauge|histogram)$", RegexOptions.None, 10_000)]
        private static partial Regex Kind();

        [GeneratedRegex(
            """^(?<series>(?<name>[a-z_][a-z0-9_]*)(\{[a-z_]+="[^"\\\n]*"(,[a-z_]+="[^"\\\n]*")*\})?) """
            + """(?<value>\+Inf|-?[0-9.]+([eE][-+]?[0-9]+)?)$""",
            RegexOptions.ExplicitCapture, 10_000)]
        private static partial Regex SampleLine();

        [GeneratedRegex(",?le=\"[^\"]*\"", RegexOptions.None, 10_000)]
        private static partial Regex Bound();
    }

    /// <summary>Takes what is sent over OTLP, and looks for names in it.</summary>
    private sealed class Collector : IDisposable
    {
        private readonly HttpListener _listener = new();
        private readonly ConcurrentQueue<(string Path, string Text)> _bodies = new();
        private readonly Task _serving;

        public Collector()
        {
            using (var probe = new TcpListener(IPAddress.Loopback, 0))
            {
                probe.Start();
                Address = $"http://127.0.0.1:{((IPEndPoint)probe.LocalEndpoint).Port}";
            }

            _listener.Prefixes.Add(Address + "/");
            _listener.Start();
            _serving = ServeAsync();
        }

        public string Address { get; }

        public async Task GotAsync(string path, params string[] words)
        {
            var asked = Stopwatch.StartNew();
            while (!words.All(w => _bodies.Any(b => b.Path == path && b.Text.Contains(w, StringComparison.Ordinal))))
            {
                Assert.True(asked.Elapsed < _limit, $"{path} did not get all of {string.Join(", ", words)}");
                await Task.Delay(50);
            }
        }

        public void Dispose()
        {
            _listener.Stop();
            _serving.Wait(_limit);
            _listener.Close();
        }

        private async Task ServeAsync()
        {
            try
            {
                while (true)
                {
                    var context = await _listener.GetContextAsync();
                    using var body = new MemoryStream();
                    await context.Request.InputStream.CopyToAsync(body);
                    _bodies.Enqueue((context.Request.Url!.AbsolutePath, Encoding.Latin1.GetString(body.ToArray())));
                    context.Response.ContentType = "application/x-protobuf";
                    context.Response.Close();
                }
            }
            catch (Exception ended) when (ended is HttpListenerException or ObjectDisposedException)
            {
                // Told to end.
            }
        }
    }
}
