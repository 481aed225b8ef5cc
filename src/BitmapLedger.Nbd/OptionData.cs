using System.Buffers.Binary;
using System.Text;

namespace BitmapLedger.Nbd;

/// <summary>Reads the data of an option from front to back; each read says whether it could.</summary>
internal ref struct OptionData(ReadOnlySpan<byte> data)
{
    private ReadOnlySpan<byte> _left = data;

    public readonly bool IsEmpty => _left.IsEmpty;

    public bool TryUInt16(out ushort value)
    {
        var read = BinaryPrimitives.TryReadUInt16BigEndian(_left, out value);
        _left = read ? _left[2..] : _left;
        return read;
    }

    public bool TryUInt32(out uint value)
    {
        var read = BinaryPrimitives.TryReadUInt32BigEndian(_left, out value);
        _left = read ? _left[4..] : _left;
        return read;
    }

    /// <summary>A 32-bit length and as many bytes of text.</summary>
    public bool TryText(out string text)
    {
        text = "";
        if (!TryUInt32(out var length) || length > (uint)_left.Length)
            return false;
        text = Encoding.UTF8.GetString(_left[..(int)length]);
        _left = _left[(int)length..];
        return true;
    }
}
