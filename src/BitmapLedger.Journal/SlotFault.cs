namespace BitmapLedger.Journal;

/// <summary>Why a slot holds no record.</summary>
public enum SlotFault
{
    /// <summary>It holds one.</summary>
    None,

    /// <summary>Nothing was ever written there.</summary>
    Empty,

    /// <summary>It is not what was written, or not of this segment.</summary>
    BadChecksum,

    /// <summary>It is whole, but a value in it cannot be.</summary>
    BadValue,
}
