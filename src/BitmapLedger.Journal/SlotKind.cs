namespace BitmapLedger.Journal;

/// <summary>What a slot records. The first three equal <see cref="Bitmaps.Writes.WriteKind"/>; stored, they never
/// change.</summary>
public enum SlotKind : byte
{
    /// <summary>A write.</summary>
    Write = 1,

    /// <summary>A write of zeroes.</summary>
    WriteZeroes = 2,

    /// <summary>A trim.</summary>
    Trim = 3,

    /// <summary>A rotation: each LSN up to this one is before it, each later one after it.</summary>
    Fence = 4,

    /// <summary>Who a connection number stands for, before its first write in the segment.</summary>
    Connection = 5,

    /// <summary>How far journal and data were durable when it was written.</summary>
    Marks = 6,
}
