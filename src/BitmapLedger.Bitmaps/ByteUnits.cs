namespace BitmapLedger.Bitmaps;

/// <summary>Binary size literals, so that sizes read as they are spoken: <c>64.KiB</c>, <c>2.TiB</c>.</summary>
public static class ByteUnits
{
    extension(int count)
    {
        /// <summary><paramref name="count"/> × 2^10 bytes.</summary>
        public long KiB => (long)count << 10;

        /// <summary><paramref name="count"/> × 2^20 bytes.</summary>
        public long MiB => (long)count << 20;

        /// <summary><paramref name="count"/> × 2^30 bytes.</summary>
        public long GiB => (long)count << 30;

        /// <summary><paramref name="count"/> × 2^40 bytes.</summary>
        public long TiB => (long)count << 40;
    }
}
