using System.Buffers.Binary;
using System.Globalization;
using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>
/// G2 on a disk that forgets: all of a ledger lies on it, PostgreSQL too, and with the power goes whatever no flush covered,
/// sector by sector as a seed decides. <c>BITMAPLEDGER_POWER_LOSSES</c> asks for more of them, <c>BITMAPLEDGER_POWER_SEED</c>
/// for others.
/// </summary>
public sealed class DiskPowerLossTests
{
    private const int LossesDefault = 2;
    private const int SeedDefault = 20_261_130;
    private const int Block = FlushingClient.Block;
    private const long Size = 256 << 20;

    /// <summary>Blocks of the stretch of a client: two regions of the activity log.</summary>
    private const int Stretch = (16 << 20) / Block;

    /// <summary>What may be told too much: the regions of both clients, and no others.</summary>
    private const long TouchedBytes = 2L * Stretch * Block;

    private static readonly (string Volume, long First)[] _clients = [("v", 0), ("v", 8L * Stretch), ("p", 0)];

    private readonly long[] _numbers = new long[_clients.Length];

    // Method: two clients of a volume and one of a volume without this promise overwrite blocks at random and flush. At a
    // checkpoint they stand still, and the image is copied as a backup would read it: from memory. They go on, some of what
    // they wrote is on its way to the disk, and the power goes. What the disk has then is compared with the copy.
    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task After_a_loss_of_power_no_block_differs_unreported_and_all_that_was_flushed_is_there()
    {
        var seed = Number("BITMAPLEDGER_POWER_SEED", SeedDefault);
        using var disk = await UnreliableDisk.CreateAsync(megabytes: 1536);
        await using var ledger = await Ledger.StartAtAsync(disk["d"]);
        ledger.Json("volume", "create", "v", "--size", $"{Size}");
        ledger.Json("volume", "create", "p", "--size", $"{Size}", "--durability", "process");
        ledger.Json("bitmap", "add", "v", "b0");
        // Overwritten in place from here on: what is new to a file the file system writes out by itself.
        foreach (var (volume, first) in _clients)
            NbdShell.Run(ledger.Export(volume), $"h.pwrite(b'\\xff' * {Stretch * Block}, {first * Block}); h.flush()");

        for (var loss = 0; loss < Number("BITMAPLEDGER_POWER_LOSSES", LossesDefault); loss++)
        {
            try
            {
                await LoseAsync(ledger, disk, seed + loss, $"c{loss}");
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException(
                    $"Loss {loss} of seed {seed}: {failure.Message}\n{ledger.Logs()}", failure);
            }
        }
    }

    private async Task LoseAsync(Ledger ledger, UnreliableDisk disk, int seed, string checkpoint)
    {
        var random = new Random(seed);
        var lsn = ledger.Json("volume", "show", "v").GetProperty("lsn").GetProperty("last").GetInt64();
        FlushingClient[] clients = [.. _clients.Select(
            (c, i) => new FlushingClient(ledger.Export(c.Volume), c.First, Stretch, _numbers[i], random.Next()))];
        try
        {
            await Task.WhenAll(clients.Select(c => c.MoreAsync(random.Next(20, 300))));
            await Task.WhenAll(clients.Select(c => c.PauseAsync()));
            ledger.Json("checkpoint", "create", "v", "p", checkpoint);
            ledger.Json("bitmap", "clear", "v", "b0");
            foreach (var volume in new[] { "v", "p" })
                Tool.Run("cp", "--sparse=always", Image(ledger, volume), ledger.Scratch(volume)).Expect();
            await Task.WhenAll(clients.Select(c => c.GoOnAsync()));
            await Task.WhenAll(clients.Select(c => c.MoreAsync(random.Next(20, 300))));
            foreach (var file in OnTheWay(ledger, random))
                UnreliableDisk.WriteOut(file);

            ledger.Freeze();
            await disk.LosePowerAsync(seed, ledger.KillFrozen);
            await Task.WhenAll(clients.Select(c => c.EndAsync()));
            ledger.Variables["BITMAPLEDGER_BOOT_ID"] = $"{Guid.NewGuid()}";
            await ledger.ServeAsync();

            AssertReported(ledger, checkpoint);
            AssertFlushedIsThere(ledger, clients);
            AssertFlushedIsRecorded(ledger, lsn, clients[..2]);
            for (var i = 0; i < clients.Length; i++)
                _numbers[i] = clients[i].Sent[^1].Number;
        }
        finally
        {
            foreach (var client in clients)
                client.Dispose();
        }
    }

    /// <summary>Files of which the disk may have got something although nobody flushed.</summary>
    private static List<string> OnTheWay(Ledger ledger, Random random)
    {
        string[] files =
        [
            Image(ledger, "v"), Image(ledger, "p"),
            .. Directory.GetFiles(Path.Combine(ledger.DataDirectory, "journal"), "*", SearchOption.AllDirectories),
        ];
        return [.. files.Where(_ => random.Next(2) == 0)];
    }

    private static void AssertReported(Ledger ledger, string checkpoint)
    {
        var changed = ledger.Json("changed", "v", "--from", $"checkpoint:{checkpoint}", "--granularity", $"{Block}");
        Assert.False(changed.GetProperty("exact").GetBoolean());
        Assert.InRange(changed.GetProperty("changed_bytes").GetInt64(), 1, TouchedBytes);
        var differing = DataCompare.Differing(ledger.Scratch("v"), Image(ledger, "v"), Block);
        var map = Tool.Run("nbdinfo", "--map=qemu:dirty-bitmap:b0", "--json", ledger.Export("v")).Expect().Output;
        var replay = ledger.Json("replay", "v", "--at", "now").GetProperty("bitmaps")[0];
        foreach (var reported in new[] { Extents.Of(changed), Extents.DirtyOf(map), Extents.Of(replay) })
            Assert.Empty(DataCompare.NotIn(reported, differing, Block));

        var all = Extents.Of(ledger.Json("changed", "p", "--from", $"checkpoint:{checkpoint}"));
        Assert.Empty(DataCompare.NotIn(all, DataCompare.Differing(ledger.Scratch("p"), Image(ledger, "p"), Block), Block));
        foreach (var volume in new[] { "v", "p" })
            Assert.True(ledger.Json("verify", volume).GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }

    /// <summary>A block holds the last write that a flush covered, or a later one, sector by sector.</summary>
    private static void AssertFlushedIsThere(Ledger ledger, FlushingClient[] clients)
    {
        foreach (var (client, (volume, _)) in clients.Zip(_clients))
        {
            using var image = File.OpenHandle(Image(ledger, volume), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            foreach (var block in client.Sent.GroupBy(w => w.Block, w => w.Number))
            {
                var flushed = block.Where(n => n <= client.Flushed).DefaultIfEmpty().Max();
                if (flushed == 0)
                    continue;
                var may = block.Where(n => n >= flushed).ToHashSet();
                var data = new byte[Block];
                _ = RandomAccess.Read(image, data, block.Key * Block);
                for (var at = 0; at < Block; at += 512)
                    Assert.Contains(BinaryPrimitives.ReadInt64LittleEndian(data.AsSpan(at)), may);
            }
        }
    }

    private static void AssertFlushedIsRecorded(Ledger ledger, long afterLsn, FlushingClient[] clients)
    {
        var blame = ledger.Json(
            "blame", "v", "--offset", "0", "--length", $"{Size}", "--from", $"lsn:{afterLsn}", "--limit", "1000000");
        Assert.True(blame.GetProperty("complete").GetBoolean());
        var recorded = blame.GetProperty("writes").EnumerateArray().CountBy(BlockOf).ToDictionary();
        var sent = clients.SelectMany(c => c.Sent).CountBy(w => w.Block).ToDictionary();
        var flushed = clients.SelectMany(c => c.Sent.Where(w => w.Number <= c.Flushed)).CountBy(w => w.Block);
        Assert.All(flushed, f => Assert.InRange(recorded.GetValueOrDefault(f.Key), f.Value, sent[f.Key]));
        Assert.All(recorded, r => Assert.InRange(r.Value, 1, sent.GetValueOrDefault(r.Key)));
    }

    private static long BlockOf(JsonElement write) => write.GetProperty("offset").GetInt64() / Block;

    private static string Image(Ledger ledger, string volume) => Path.Combine(ledger.DataDirectory, "volumes", volume + ".img");

    private static int Number(string variable, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out var number)
            ? number
            : otherwise;
}
