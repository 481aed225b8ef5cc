using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Ledger.CarryingOut;

/// <summary>What the Agent is told of the bitmaps of a volume at a fence.</summary>
internal static class Settlements
{
    private static readonly FileStreamOptions _private = new()
    {
        Mode = FileMode.CreateNew,
        Access = FileAccess.Write,
        UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
    };

    /// <summary>The bitmaps after a decision.</summary>
    /// <param name="fence">Where it stands.</param>
    /// <param name="decision">What happened there.</param>
    /// <param name="bitsDirectory">Where bits that its events brought are put down for the Agent.</param>
    public static Settle Of(Fence fence, VolumeDecision decision, string bitsDirectory) => new(
        fence.Id, fence.Number,
        [.. BitTransfer.Of(decision.Before, decision.Events).Select(t => new BitmapSource(
            t.Name, t.Granularity, t.Recording, [.. t.From.Select(f => new BitsFrom(f.Name, f.Path.Granularity))],
            PutDown(t, decision.After.Size, bitsDirectory)))]);

    /// <summary>The bitmaps of a volume to which nothing happened.</summary>
    public static Settle Unchanged(Fence fence, VolumeState state, string bitsDirectory) =>
        Of(fence, new(state, [], state), bitsDirectory);

    /// <summary>Writes a file of bits for the Agent, which deletes it.</summary>
    /// <returns>Its name.</returns>
    public static string PutDown(NativeBitmap bits, string bitsDirectory)
    {
        var name = $"{Guid.CreateVersion7():N}.bits";
        using var file = new FileStream(Path.Combine(Directory.CreateDirectory(bitsDirectory).FullName, name), _private);
        file.Write(BitmapCodec.Encode(bits));
        return name;
    }

    private static string? PutDown(BitTransfer transfer, long size, string bitsDirectory)
    {
        if (transfer.Given.Count == 0)
            return null;
        using NativeBitmap union = new(size, Granularity.FromBytes(transfer.Granularity));
        foreach (var given in transfer.Given)
        {
            using var bits = GivenBits.Read(given.Bits);
            given.Path.Carry(bits, union);
        }

        return PutDown(union, bitsDirectory);
    }
}
