using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>Slices that are banked and cycled while server, agent and PostgreSQL are killed and others read them.</summary>
public sealed class SliceCrashTests : IAsyncLifetime
{
    private const long Size = 1 << 20;
    private const int Block = 64 << 10;
    private const int Kept = 3;
    private const int Rounds = 9;
    private readonly ConcurrentDictionary<long, string> _digests = new();
    private Ledger _ledger = null!;

    public async ValueTask InitializeAsync()
    {
        _ledger = await Ledger.StartAsync();
        _ledger.Json("volume", "create", "v", "--size", "1M");
        _ledger.Json("bitmap", "add", "v", "b0");
        _ledger.Json("retention", "set", "v", "b0", "--slices", $"{Kept}", "--overflow", "cycle");
    }

    public ValueTask DisposeAsync() => _ledger.DisposeAsync();

    // Method: every single write that the ledger has, by LSN, is the model: a slice holds the blocks of those between its
    // ends. A slice that was seen once is never seen with other bits.
    [Fact]
    public async Task A_slice_holds_the_writes_between_its_ends_and_is_banked_once_whatever_is_killed_meanwhile()
    {
        const int seed = 11;
        var random = new Random(seed);
        using var reading = new CancellationTokenSource();
        var readers = Enumerable.Range(0, 2).Select(_ => Task.Run(() => Read(reading.Token))).ToArray();
        for (var round = 0; round < Rounds; round++)
        {
            await WriteAsync(random);
            string[] bank = ["slice", "bank", "v", "b0", "--command-id", $"bank-{round}"];
            var banking = Tool.RunAsync(Path.Combine(Repository.Programs, "bml"), [.. bank, "--data-dir", _ledger.DataDirectory]);
            await Task.Delay(random.Next(60));
            _ledger.Kill(new[] { "server", "agent", "postgres" }[round % 3]);
            _ = await banking;
            await _ledger.AnswersAsync(bank);
        }

        await reading.CancelAsync();
        await Task.WhenAll(readers);
        await _ledger.AnswersAsync("verify", "v");

        var writes = _ledger.Json("blame", "v", "--offset", "0", "--length", "1M", "--limit", "100000").GetProperty("writes");
        var slices = Slices(_ledger.Json("slice", "list", "v", "b0"));
        Assert.Equal(Enumerable.Range(Rounds - Kept, Kept).Select(n => (long)n), slices.Select(s => s.Number));
        Assert.Equal(Rounds, _ledger.Json("history", "v", "--type", "SliceBanked").GetProperty("events").GetArrayLength());
        Assert.All(slices, s => Assert.Equal((s.Number, Digest(writes, s.From, s.To)), (s.Number, s.Sha256)));
        Assert.All(slices.Zip(slices.Skip(1)), p => Assert.Equal(p.First.To, p.Second.From));
    }

    private void Read(CancellationToken cancellation)
    {
        while (!cancellation.IsCancellationRequested)
        {
            var answer = _ledger.Bml("slice", "list", "v", "b0", "--json");
            if (answer.ExitCode == 11)
                continue;
            using var document = JsonDocument.Parse(answer.Expect().Output);
            var slices = Slices(document.RootElement);
            Assert.InRange(slices.Count, 0, Kept);
            Assert.All(slices.Zip(slices.Skip(1)), p => Assert.Equal(p.First.Number + 1, p.Second.Number));
            Assert.All(slices, s => Assert.Equal(s.Sha256, _digests.GetOrAdd(s.Number, s.Sha256)));
        }
    }

    /// <summary>A few writes; asked again while the agent comes back. What an attempt wrote that failed is in the ledger, or it
    /// is not: either is right.</summary>
    private async Task WriteAsync(Random random)
    {
        var writes = string.Join(',', Enumerable.Range(0, 4).Select(_ => $"({random.NextInt64(Size / 512 - 64) * 512},{random.Next(1, 64) * 512})"));
        var started = System.Diagnostics.Stopwatch.StartNew();
        while (Tool.Run(
            "nbdsh", "-u", _ledger.Export("v"), "-c", $"for offset, length in [{writes}]: h.pwrite(b'x' * length, offset)").ExitCode != 0)
        {
            Assert.True(started.Elapsed < TimeSpan.FromMinutes(2), "the agent does not come back");
            await Task.Delay(50);
        }
    }

    private static List<Slice> Slices(JsonElement answer) =>
    [
        .. answer.GetProperty("slices").EnumerateArray().Select(s => new Slice(
            s.GetProperty("slice").GetInt64(), s.GetProperty("sha256").GetString()!, Lsn(s, "from"), Lsn(s, "to"))),
    ];

    private static long Lsn(JsonElement slice, string end) => slice.GetProperty(end).GetProperty("lsn").GetInt64();

    /// <summary>As QEMU digests the blocks of the writes after one LSN, up to another: sixteen bits of a word.</summary>
    private static string Digest(JsonElement writes, long from, long to)
    {
        var bits = 0UL;
        foreach (var write in writes.EnumerateArray().Where(w => w.GetProperty("lsn").GetInt64() is var lsn && lsn > from && lsn <= to))
        {
            var offset = write.GetProperty("offset").GetInt64();
            for (var block = offset / Block; block <= (offset + write.GetProperty("length").GetInt64() - 1) / Block; block++)
                bits |= 1UL << (int)block;
        }

        return Convert.ToHexStringLower(SHA256.HashData(BitConverter.GetBytes(bits)));
    }

    private sealed record Slice(long Number, string Sha256, long From, long To);
}
