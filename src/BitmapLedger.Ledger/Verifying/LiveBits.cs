using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Ledger.Verifying;

/// <summary>The Agent's digests at a fence, and bits of those bitmaps that seem to differ. The creator disposes.</summary>
/// <param name="digests">The digests.</param>
internal sealed class LiveBits(IReadOnlyList<Contracts.Control.BitmapDigest> digests) : IDisposable
{
    private readonly Dictionary<string, NativeBitmap> _maps = new(StringComparer.Ordinal);

    /// <summary>How many bitmaps the Agent has.</summary>
    public int Count => digests.Count;

    /// <summary>The digest of a bitmap; null when the Agent does not have it.</summary>
    public string? Digest(string name) => digests.FirstOrDefault(d => d.Name == name)?.Sha256;

    /// <summary>Takes over the bits of a bitmap.</summary>
    public void Add(string name, NativeBitmap bits) => _maps[name] = bits;

    /// <summary>Compares a bitmap with what is right.</summary>
    /// <returns>The digest of it.</returns>
    public async Task<string> CompareAsync(
        BitComparison comparison, BitmapState bitmap, NativeBitmap right, CancellationToken cancellation)
    {
        if (Digest(bitmap.Name) is { } digest && (digest == right.Sha256() || !_maps.ContainsKey(bitmap.Name)))
        {
            if (digest != right.Sha256())
                comparison.PartAt(bitmap.Since.Event);
            return digest;
        }

        return await comparison.CompareAsync(
            WantedBits.Of(bitmap), bitmap.Since.Event, right, _maps.GetValueOrDefault(bitmap.Name), cancellation);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var map in _maps.Values)
            map.Dispose();
    }
}
