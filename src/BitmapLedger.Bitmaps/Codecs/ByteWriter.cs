using System.Buffers;
using System.Buffers.Binary;

namespace BitmapLedger.Bitmaps.Codecs;

/// <summary>A growing buffer that codecs fill, closed by a checksum over all of it.</summary>
internal sealed class ByteWriter(int capacity)
{
    private readonly ArrayBufferWriter<byte> _buffer = new(capacity);

    public int Length => _buffer.WrittenCount;

    public ReadOnlySpan<byte> Written => _buffer.WrittenSpan;

    public void Byte(byte value) => _buffer.Write([value]);

    public void Bytes(ReadOnlySpan<byte> bytes) => _buffer.Write(bytes);

    public void UInt32(uint value)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(_buffer.GetSpan(sizeof(uint)), value);
        _buffer.Advance(sizeof(uint));
    }

    public void Int64(long value)
    {
        BinaryPrimitives.WriteInt64LittleEndian(_buffer.GetSpan(sizeof(long)), value);
        _buffer.Advance(sizeof(long));
    }

    public void Varint(ulong value) =>
        _buffer.Advance(Codecs.Varint.Write(_buffer.GetSpan(Codecs.Varint.BytesMax), value));

    public byte[] CloseWithChecksum()
    {
        UInt32(Crc32C.Of(_buffer.WrittenSpan));
        return _buffer.WrittenSpan.ToArray();
    }
}
