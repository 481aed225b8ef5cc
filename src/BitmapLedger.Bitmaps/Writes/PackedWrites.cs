using BitmapLedger.Bitmaps.Codecs;

namespace BitmapLedger.Bitmaps.Writes;

/// <summary>
/// A stretch of a volume's writes in columns: what a <c>WritesRecorded</c> event carries. An instance is whole and
/// checked; enumerating it cannot fail. Layout: FORMAT.md.
/// </summary>
public sealed class PackedWrites
{
    /// <summary>Most writes of a block: larger ones gain nothing and cost memory to read.</summary>
    public const int WritesMax = 65_536;

    internal PackedWrites(ReadOnlyMemory<byte> bytes, PackedHeader header)
    {
        Bytes = bytes;
        Header = header;
    }

    /// <summary>The bytes as they are stored.</summary>
    public ReadOnlyMemory<byte> Bytes { get; }

    /// <summary>First LSN of the stretch, a write or a void.</summary>
    public long FirstLsn => Header.FirstLsn;

    /// <summary>Last LSN of the stretch, a write or a void.</summary>
    public long LastLsn => Header.LastLsn;

    /// <summary>Writes in it; voids do not count.</summary>
    public int Count => Header.Count;

    /// <summary>Time of its first write, microseconds since the Unix epoch; 0 when it has none.</summary>
    public long FirstTimeMicroseconds => Header.FirstTimeMicroseconds;

    /// <summary>Time of its last write, microseconds since the Unix epoch; 0 when it has none.</summary>
    public long LastTimeMicroseconds => Header.LastTimeMicroseconds;

    /// <summary>Sum of the lengths of its writes, in bytes.</summary>
    public long TotalBytes => Header.TotalBytes;

    /// <summary>Names of connections that its writes carry, as far as they are known.</summary>
    public IReadOnlyList<ConnectionName> Connections => Header.Connections;

    /// <summary>LSNs that never reached the backend, ascending.</summary>
    public IReadOnlyList<LsnRange> Voids => Header.Voids;

    internal PackedHeader Header { get; }

    /// <summary>Packs writes and voids, which together fill every LSN from the least to the greatest.</summary>
    /// <param name="writes">Ascending by LSN; up to <see cref="WritesMax"/>.</param>
    /// <param name="connections">Names to keep with them.</param>
    /// <param name="voids">Ascending, disjoint, none of them a write's.</param>
    /// <exception cref="ArgumentException">The LSNs have a gap, times go back, or a write is empty.</exception>
    public static byte[] Encode(
        ReadOnlySpan<SingleWrite> writes, IReadOnlyList<ConnectionName> connections, IReadOnlyList<LsnRange> voids) =>
        PackedEncoder.Encode(writes, connections, voids);

    /// <summary>Reads and verifies a whole block.</summary>
    /// <param name="source">The bytes; kept, not copied.</param>
    /// <param name="packed">The block, or null with a fault.</param>
    public static CodecFault TryRead(ReadOnlyMemory<byte> source, out PackedWrites? packed) =>
        PackedDecoder.TryRead(source, out packed);

    /// <summary>So many bytes at the beginning of a block say its first LSN.</summary>
    public const int PrefixBytes = PackedHeader.FixedBytes;

    /// <summary>Reads the first LSN from the beginning of a block. Its checksum is not looked at: good for finding a block,
    /// which is then read whole.</summary>
    /// <param name="prefix">Its first bytes, <see cref="PrefixBytes"/> or more.</param>
    /// <param name="firstLsn">First LSN of the stretch; 0 with a fault.</param>
    public static CodecFault TryPeek(ReadOnlySpan<byte> prefix, out long firstLsn) =>
        PackedDecoder.TryPeek(prefix, out firstLsn);

    /// <summary>The writes, ascending by LSN; no allocation.</summary>
    public Enumerator GetEnumerator() => new(this);

    /// <summary>Reads the columns side by side.</summary>
    public ref struct Enumerator
    {
        private readonly PackedHeader _header;
        private readonly ReadOnlySpan<byte> _source;
        private WriteColumns _columns;
        private SingleWrite _current;
        private int _left;
        private int _nextVoid;

        internal Enumerator(PackedWrites packed)
        {
            _header = packed.Header;
            _source = packed.Bytes.Span;
            _columns = packed.Header.Columns;
            _left = packed.Count;
            _current = new(packed.FirstLsn - 1, packed.FirstTimeMicroseconds, default, 0, 0, 0);
        }

        /// <summary>The write read last.</summary>
        public readonly SingleWrite Current => _current;

        /// <summary>Reads the next write.</summary>
        public bool MoveNext()
        {
            if (_left-- <= 0)
                return false;

            var lsn = _current.Lsn + 1;
            while (_nextVoid < _header.Voids.Count && _header.Voids[_nextVoid].First == lsn)
                lsn = _header.Voids[_nextVoid++].Last + 1;
            return _columns.TryNext(_source, _header.UnitShift, lsn, ref _current);
        }
    }
}
