using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Connecting;

namespace BitmapLedger.Ledger.CarryingOut;

/// <summary>Gets the bits of bitmaps that are merged into those of other volumes, as of the fences of both.</summary>
internal static class ForeignBits
{
    /// <summary>Puts into a decision the bits that its events lack.</summary>
    /// <param name="decision">What happens.</param>
    /// <param name="fences">A fence of each volume.</param>
    /// <param name="agent">Has the bits.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public static async Task<TransactionDecision> FillAsync(
        TransactionDecision decision, IReadOnlyList<Fence> fences, IAgent agent, CancellationToken cancellation)
    {
        Dictionary<BitmapRef, NativeBitmap> bits = [];
        try
        {
            foreach (var needed in decision.Needed)
                bits[needed] = await ReadAsync(needed, fences.Single(f => f.Id == needed.Volume), agent, cancellation);
            return decision.WithForeignBits(needed => bits[needed]);
        }
        finally
        {
            foreach (var map in bits.Values)
                map.Dispose();
        }
    }

    /// <summary>Bits that the Agent has at a fence that is not settled yet.</summary>
    /// <returns>The caller disposes it.</returns>
    public static async Task<NativeBitmap> ReadAsync(
        BitmapRef bitmap, Fence fence, IAgent agent, CancellationToken cancellation)
    {
        var answer = (BitsFile)await agent.AskAsync(new ReadBits(fence.Id, fence.Number, bitmap.Name), cancellation);
        var path = Path.Combine(agent.BitsDirectory, answer.File);
        var fault = BitmapCodec.TryRead(await File.ReadAllBytesAsync(path, cancellation), out var map);
        File.Delete(path);
        return map ?? throw new CorruptionException(path, 0, fault.ToString());
    }
}
