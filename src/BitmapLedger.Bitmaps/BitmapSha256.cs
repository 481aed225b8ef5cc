using System.Security.Cryptography;

namespace BitmapLedger.Bitmaps;

/// <summary>QEMU's digest of a bitmap, streamed: clean stretches are hashed from one buffer of zeroes.</summary>
internal static class BitmapSha256
{
    private static readonly byte[] _zeroes = new byte[64 * 1024];

    public static string Of(NativeBitmap.ReadOnlyWords words, int chunkWords)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (var first = 0L; first < words.Count; first += chunkWords)
        {
            var count = (int)Math.Min(chunkWords, words.Count - first);
            hash.AppendData(
                words.IsClean(first, count) ? _zeroes.AsSpan(0, count * sizeof(ulong)) : words.Bytes(first, count));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
