using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace BitmapLedger.Nbd;

/// <summary>
/// Replies gathered for one send. It grows to what a connection needs once, and allocates nothing after. One thread.
/// </summary>
/// <param name="capacity">Bytes to begin with.</param>
public sealed class ReplyBuffer(int capacity)
{
    private const ushort Done = 1;
    private const int ChunkHeaderBytes = 20;
    private const ushort ChunkNone = 0;
    private const ushort ChunkData = 1;
    private const ushort ChunkBlockStatus = 5;
    private const ushort ChunkError = 0x8001;

    private byte[] _bytes = GC.AllocateUninitializedArray<byte>(capacity, pinned: true);

    /// <summary>Bytes gathered.</summary>
    public int Length { get; private set; }

    /// <summary>What was gathered.</summary>
    public ReadOnlySpan<byte> Written => _bytes.AsSpan(0, Length);

    /// <summary>Begins anew.</summary>
    public void Clear() => Length = 0;

    /// <summary>Room for <paramref name="count"/> bytes, which count as written.</summary>
    public Span<byte> Take(int count)
    {
        if (_bytes.Length - Length < count)
        {
            var grown = GC.AllocateUninitializedArray<byte>(Math.Max(_bytes.Length * 2, Length + count), pinned: true);
            Written.CopyTo(grown);
            _bytes = grown;
        }

        Length += count;
        return _bytes.AsSpan(Length - count, count);
    }

    /// <summary>Takes back the last <paramref name="count"/> bytes.</summary>
    public void Untake(int count) => Length -= count;

    /// <summary>A simple reply; the data of a successful READ follows it.</summary>
    public void Simple(ulong cookie, int errno)
    {
        var reply = Take(16);
        BinaryPrimitives.WriteUInt32BigEndian(reply, NbdMagic.SimpleReply);
        BinaryPrimitives.WriteInt32BigEndian(reply[4..], errno);
        BinaryPrimitives.WriteUInt64BigEndian(reply[8..], cookie);
    }

    /// <summary>Opens the only chunk of a READ; <paramref name="length"/> bytes of data follow, above 0.</summary>
    public void DataHeader(ulong cookie, ulong offset, uint length)
    {
        Chunk(Done, ChunkData, cookie, 8 + length);
        BinaryPrimitives.WriteUInt64BigEndian(Take(8), offset);
    }

    /// <summary>A READ of nothing.</summary>
    public void None(ulong cookie) => Chunk(Done, ChunkNone, cookie, 0);

    /// <summary>An error, with the text that says why.</summary>
    public void Error(ulong cookie, int errno, string text)
    {
        var message = Encoding.UTF8.GetBytes(text);
        var length = Math.Min(message.Length, NbdLimits.StringBytesMax);
        Chunk(Done, ChunkError, cookie, (uint)(6 + length));
        var payload = Take(6 + length);
        BinaryPrimitives.WriteInt32BigEndian(payload, errno);
        BinaryPrimitives.WriteUInt16BigEndian(payload[4..], (ushort)length);
        message.AsSpan(0, length).CopyTo(payload[6..]);
    }

    /// <summary>The extents of one context.</summary>
    /// <param name="cookie">Of the request.</param>
    /// <param name="contextId">As negotiated.</param>
    /// <param name="extents">At least one, none longer than 2^32-1 bytes.</param>
    /// <param name="last">Whether no other context follows.</param>
    public void BlockStatus(ulong cookie, uint contextId, List<StatusExtent> extents, bool last)
    {
        Chunk(last ? Done : (ushort)0, ChunkBlockStatus, cookie, (uint)(4 + extents.Count * 8));
        BinaryPrimitives.WriteUInt32BigEndian(Take(4), contextId);
        foreach (var extent in CollectionsMarshal.AsSpan(extents))
        {
            var pair = Take(8);
            BinaryPrimitives.WriteUInt32BigEndian(pair, (uint)extent.Length);
            BinaryPrimitives.WriteUInt32BigEndian(pair[4..], extent.Flags);
        }
    }

    private void Chunk(ushort flags, ushort type, ulong cookie, uint payloadBytes)
    {
        var header = Take(ChunkHeaderBytes);
        BinaryPrimitives.WriteUInt32BigEndian(header, NbdMagic.StructuredReply);
        BinaryPrimitives.WriteUInt16BigEndian(header[4..], flags);
        BinaryPrimitives.WriteUInt16BigEndian(header[6..], type);
        BinaryPrimitives.WriteUInt64BigEndian(header[8..], cookie);
        BinaryPrimitives.WriteUInt32BigEndian(header[16..], payloadBytes);
    }
}
