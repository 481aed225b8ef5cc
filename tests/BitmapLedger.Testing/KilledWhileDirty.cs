using System.Text.Json;

namespace BitmapLedger.Testing;

/// <summary>What is left of change tracking after a kill -9.</summary>
/// <param name="Bitmap">What is said of the bitmap afterwards.</param>
/// <param name="IsUsable">Whether the next backup can be incremental.</param>
/// <param name="BytesToCopy">What the next backup copies.</param>
public sealed record AfterKill(string Bitmap, bool IsUsable, long BytesToCopy);

/// <summary>
/// The same disk, the same backup, the same writes after it, and then a kill -9: once for qemu-storage-daemon with a
/// persistent bitmap in a qcow2 image, once for ours.
/// </summary>
public static class KilledWhileDirty
{
    /// <summary>Offsets of 4 KiB writes after the backup.</summary>
    public static long[] Writes(long size, int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.NextInt64(size / 4096) * 4096)];
    }

    /// <summary>QEMU: the bitmap is made, stored by an orderly end, loaded again, and then its process is killed.</summary>
    public static AfterKill Qemu(string directory, long size, IReadOnlyList<long> writes)
    {
        Directory.CreateDirectory(directory);
        var image = Path.Combine(directory, "disk.qcow2");
        Tool.Run("qemu-img", "create", "-q", "-f", "qcow2", image, $"{size}").Expect();
        using (var first = new QemuStorageDaemon(directory, image, "qcow2"))
        {
            first.Execute("block-dirty-bitmap-add", new { node = "n0", name = "b0", persistent = true });
            first.Quit();
        }

        using (var second = new QemuStorageDaemon(directory, image, "qcow2"))
        {
            second.Export("n0", "b0");
            Write(second.Uri("n0"), writes);
            Posix.Signal(second.ProcessId, Posix.SigKill);
        }

        using var third = new QemuStorageDaemon(directory, image, "qcow2");
        var bitmap = third.Execute("query-named-block-nodes", new { flat = true }).EnumerateArray()
            .Single(n => n.GetProperty("node-name").GetString() == "n0").GetProperty("dirty-bitmaps").EnumerateArray()
            .Single();
        var isInconsistent = bitmap.TryGetProperty("inconsistent", out var flag) && flag.GetBoolean();
        return isInconsistent
            ? new(third.Refusal("block-dirty-bitmap-clear", new { node = "n0", name = "b0" }), IsUsable: false, size)
            : new("consistent", IsUsable: true, bitmap.GetProperty("count").GetInt64());
    }

    /// <summary>Ours: a volume with a checkpoint where the backup was; the agent is killed, and started again by its
    /// supervisor.</summary>
    public static async Task<AfterKill> OursAsync(Ledger ledger, string volume, long size, IReadOnlyList<long> writes)
    {
        ledger.Json("volume", "create", volume, "--size", $"{size}");
        ledger.Json("bitmap", "add", volume, "b0");
        ledger.Json("checkpoint", "create", volume, "backup");
        Write(ledger.Export(volume), writes);
        ledger.Kill("agent");
        await ledger.AnswersAsync("verify", volume);
        var changed = ledger.Json("changed", volume, "--from", "checkpoint:backup");
        var map = Tool.Run("nbdinfo", "--map=qemu:dirty-bitmap:b0", "--json", ledger.Export(volume)).Expect().Output;
        var bytes = Extents.DirtyOf(map).Sum(e => e.Length);
        var isUsable = changed.GetProperty("exact").GetBoolean() && bytes == changed.GetProperty("changed_bytes").GetInt64();
        return new(isUsable ? "exact" : "inexact", isUsable, bytes);
    }

    private static void Write(string uri, IReadOnlyList<long> writes) => NbdShell.Run(
        uri, $"for offset in {JsonSerializer.Serialize(writes)}: h.pwrite(bytes([7]) * 4096, offset)");
}
