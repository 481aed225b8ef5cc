namespace BitmapLedger.Bitmaps.Codecs;

/// <summary>Why bytes could not be read. There is no third state: what is not a fault is safe to use.</summary>
public enum CodecFault
{
    /// <summary>Nothing is wrong.</summary>
    None,

    /// <summary>The bytes end too early.</summary>
    Incomplete,

    /// <summary>They are something else.</summary>
    BadMagic,

    /// <summary>A later version wrote them.</summary>
    UnknownVersion,

    /// <summary>They are not what was written.</summary>
    BadChecksum,

    /// <summary>They are whole, but a value in them cannot be.</summary>
    BadValue,
}
