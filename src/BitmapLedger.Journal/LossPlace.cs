using System.Buffers.Binary;

namespace BitmapLedger.Journal;

/// <summary>Where something happened that journal and data know nothing exact of: every write before it may have been undone, no
/// write behind it.</summary>
/// <param name="Lsn">Behind this LSN.</param>
/// <param name="TimeMicroseconds">When it was found, by the volume's clock.</param>
public readonly record struct LossPlace(long Lsn, long TimeMicroseconds)
{
    /// <summary>Nobody knows.</summary>
    public static readonly LossPlace None;

    internal static LossPlace Read(ReadOnlySpan<byte> source) =>
        new(BinaryPrimitives.ReadInt64LittleEndian(source), BinaryPrimitives.ReadInt64LittleEndian(source[sizeof(long)..]));

    internal void Write(Span<byte> target)
    {
        BinaryPrimitives.WriteInt64LittleEndian(target, Lsn);
        BinaryPrimitives.WriteInt64LittleEndian(target[sizeof(long)..], TimeMicroseconds);
    }
}
