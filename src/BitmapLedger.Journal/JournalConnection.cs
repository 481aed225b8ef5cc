using System.Text;

namespace BitmapLedger.Journal;

/// <summary>A client as the journal knows it. Belongs to one journal and one thread.</summary>
public sealed class JournalConnection
{
    private long _firstInFlight = long.MaxValue;

    internal JournalConnection(int number, string name)
    {
        Number = number;
        var bytes = Encoding.UTF8.GetBytes(name);
        var length = Math.Min(bytes.Length, JournalSlot.NameBytesMax);
        while (length > 0 && length < bytes.Length && (bytes[length] & 0xC0) == 0x80)
            length--;
        Name = bytes.AsMemory(0, length);
    }

    /// <summary>The number that its writes carry.</summary>
    public int Number { get; }

    /// <summary>Whether the disk had no room when it refused this connection's last batch; another refusal is an error
    /// of the disk.</summary>
    public bool LacksRoom { get; internal set; }

    /// <summary>LSN of the first write whose data may not have gone out yet; none when there is no such write.</summary>
    internal long FirstInFlight
    {
        get => Volatile.Read(ref _firstInFlight);
        set => Volatile.Write(ref _firstInFlight, value);
    }

    internal ReadOnlyMemory<byte> Name { get; }

    /// <summary>The segment that names it last: each segment stands alone once older ones are freed.</summary>
    internal long NamedInSegment { get; set; }
}
