namespace BitmapLedger.Nbd;

/// <summary>Numbers that open a message; all integers of NBD are big-endian.</summary>
public static class NbdMagic
{
    /// <summary>"NBDMAGIC".</summary>
    public const ulong Server = 0x4e42444d41474943;

    /// <summary>"IHAVEOPT".</summary>
    public const ulong Option = 0x49484156454f5054;

    /// <summary>Opens a reply to an option.</summary>
    public const ulong OptionReply = 0x0003e889045565a9;

    /// <summary>Opens a request.</summary>
    public const uint Request = 0x25609513;

    /// <summary>Opens a simple reply.</summary>
    public const uint SimpleReply = 0x67446698;

    /// <summary>Opens a chunk of a structured reply.</summary>
    public const uint StructuredReply = 0x668e33ef;
}

/// <summary>Options of the handshake.</summary>
public enum NbdOption : uint
{
    /// <summary>Choose an export, without a way to refuse.</summary>
    ExportName = 1,

    /// <summary>End the handshake.</summary>
    Abort = 2,

    /// <summary>Name the exports.</summary>
    List = 3,

    /// <summary>Begin TLS.</summary>
    StartTls = 5,

    /// <summary>Describe an export.</summary>
    Info = 6,

    /// <summary>Describe an export and begin transmission.</summary>
    Go = 7,

    /// <summary>Use structured replies.</summary>
    StructuredReply = 8,

    /// <summary>Name the meta contexts of an export.</summary>
    ListMetaContext = 9,

    /// <summary>Choose meta contexts of an export.</summary>
    SetMetaContext = 10,
}

/// <summary>Kinds of replies to an option; errors have the high bit.</summary>
public enum NbdOptionReply : uint
{
    /// <summary>Done.</summary>
    Ack = 1,

    /// <summary>One export.</summary>
    Server = 2,

    /// <summary>One piece of information.</summary>
    Info = 3,

    /// <summary>One meta context.</summary>
    MetaContext = 4,

    /// <summary>The option is not known.</summary>
    ErrorUnsupported = 0x80000001,

    /// <summary>The option is known and not allowed.</summary>
    ErrorPolicy = 0x80000002,

    /// <summary>The option's data cannot be.</summary>
    ErrorInvalid = 0x80000003,

    /// <summary>No such export.</summary>
    ErrorUnknown = 0x80000006,

    /// <summary>The option's data is longer than this server reads.</summary>
    ErrorTooBig = 0x80000009,
}

/// <summary>Commands of the transmission phase.</summary>
public enum NbdCommand : ushort
{
    /// <summary>Read bytes.</summary>
    Read = 0,

    /// <summary>Write bytes, which follow the request.</summary>
    Write = 1,

    /// <summary>End in order; no reply.</summary>
    Disconnect = 2,

    /// <summary>Make replied writes durable.</summary>
    Flush = 3,

    /// <summary>The bytes are not needed any more.</summary>
    Trim = 4,

    /// <summary>The bytes will be needed soon.</summary>
    Cache = 5,

    /// <summary>Write zeroes.</summary>
    WriteZeroes = 6,

    /// <summary>Ask for the chosen meta contexts.</summary>
    BlockStatus = 7,
}

/// <summary>Flags of a request.</summary>
[Flags]
public enum NbdCommandFlags : ushort
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>Durable before the reply.</summary>
    Fua = 1,

    /// <summary>WRITE_ZEROES may not leave a hole.</summary>
    NoHole = 2,

    /// <summary>READ answers in one content chunk.</summary>
    DontFragment = 4,

    /// <summary>BLOCK_STATUS answers one extent a context.</summary>
    RequestOne = 8,

    /// <summary>WRITE_ZEROES fails rather than be slow.</summary>
    FastZero = 16,
}

/// <summary>What an export can do.</summary>
[Flags]
public enum NbdTransmissionFlags : ushort
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>Always set.</summary>
    HasFlags = 1 << 0,

    /// <summary>Writes are refused.</summary>
    ReadOnly = 1 << 1,

    /// <summary>FLUSH works.</summary>
    SendFlush = 1 << 2,

    /// <summary>FUA works.</summary>
    SendFua = 1 << 3,

    /// <summary>TRIM works.</summary>
    SendTrim = 1 << 5,

    /// <summary>WRITE_ZEROES works.</summary>
    SendWriteZeroes = 1 << 6,

    /// <summary>DF works; only after structured replies were agreed.</summary>
    SendDontFragment = 1 << 7,

    /// <summary>A flush on one connection covers all.</summary>
    CanMultiConnect = 1 << 8,

    /// <summary>CACHE works.</summary>
    SendCache = 1 << 10,

    /// <summary>FAST_ZERO works.</summary>
    SendFastZero = 1 << 11,
}

/// <summary>Errors on the wire.</summary>
public static class NbdErrno
{
    /// <summary>The export is read-only.</summary>
    public const int NotPermitted = 1;

    /// <summary>The disk refused.</summary>
    public const int InputOutput = 5;

    /// <summary>No memory.</summary>
    public const int NoMemory = 12;

    /// <summary>The request cannot be.</summary>
    public const int Invalid = 22;

    /// <summary>No space, or past the end.</summary>
    public const int NoSpace = 28;

    /// <summary>A reply would be too large.</summary>
    public const int Overflow = 75;

    /// <summary>Not without being slow.</summary>
    public const int NotSupported = 95;

    /// <summary>The export is going away.</summary>
    public const int Shutdown = 108;
}

/// <summary>Limits that both ends keep.</summary>
public static class NbdLimits
{
    /// <summary>Longest payload of READ, WRITE and CACHE.</summary>
    public const int PayloadBytesMax = 32 << 20;

    /// <summary>What a client does best to align to.</summary>
    public const int PreferredBlockBytes = 4096;

    /// <summary>Longest name or text.</summary>
    public const int StringBytesMax = 4096;

    /// <summary>An option with more data ends the connection, as in QEMU.</summary>
    public const int OptionBytesMax = 32 << 20;

    /// <summary>Data of an option that this server reads; a longer one is consumed and refused.</summary>
    public const int OptionBytesRead = 64 << 10;

    /// <summary>Extents of one context in one reply: 128 Ki, as in QEMU.</summary>
    public const int ExtentsMax = 131_072;
}
