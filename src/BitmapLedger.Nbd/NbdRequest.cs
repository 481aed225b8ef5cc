using System.Buffers.Binary;

namespace BitmapLedger.Nbd;

/// <summary>A compact request as it came; nothing of it is believed before <see cref="Refusal"/> was asked.</summary>
/// <param name="Flags">Flags.</param>
/// <param name="Command">Command.</param>
/// <param name="Cookie">What the reply repeats.</param>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes.</param>
public readonly record struct NbdRequest(
    NbdCommandFlags Flags, NbdCommand Command, ulong Cookie, ulong Offset, uint Length)
{
    /// <summary>Bytes of a request, its payload not counted.</summary>
    public const int Size = 28;

    /// <summary>True for the commands that change the volume.</summary>
    public bool IsWrite => Command is NbdCommand.Write or NbdCommand.WriteZeroes or NbdCommand.Trim;

    /// <summary>Bytes that follow the request.</summary>
    public long PayloadBytes => Command == NbdCommand.Write ? Length : 0;

    /// <summary>Reads a request.</summary>
    /// <param name="source">At least <see cref="Size"/> bytes.</param>
    /// <param name="request">The request.</param>
    /// <returns>False when it does not begin as one: the stream is lost.</returns>
    public static bool TryRead(ReadOnlySpan<byte> source, out NbdRequest request)
    {
        request = new(
            (NbdCommandFlags)BinaryPrimitives.ReadUInt16BigEndian(source[4..]),
            (NbdCommand)BinaryPrimitives.ReadUInt16BigEndian(source[6..]),
            BinaryPrimitives.ReadUInt64BigEndian(source[8..]),
            BinaryPrimitives.ReadUInt64BigEndian(source[16..]),
            BinaryPrimitives.ReadUInt32BigEndian(source[24..]));
        return BinaryPrimitives.ReadUInt32BigEndian(source) == NbdMagic.Request;
    }

    /// <summary>Whether the request must be refused: an errno of the protocol, or 0.</summary>
    /// <param name="size">Size of the export.</param>
    /// <param name="readOnly">Whether writes are refused.</param>
    /// <param name="hasContexts">Whether meta contexts were chosen.</param>
    /// <param name="text">Why, with what was asked.</param>
    public int Refusal(long size, bool readOnly, bool hasContexts, out string text)
    {
        text = "";
        if (AllowedFlags(Command) is not { } allowed)
            return Because($"invalid request type {(ushort)Command}", NbdErrno.Invalid, out text);
        if ((Flags & ~allowed) != NbdCommandFlags.None)
            return Because(
                $"unsupported flags for command {Command} (got 0x{(ushort)Flags:x})", NbdErrno.Invalid, out text);
        if (IsWrite && readOnly)
            return Because(
                $"Export is read-only; {Command} at {Offset}, length {Length}", NbdErrno.NotPermitted, out text);
        if (Command is NbdCommand.Read or NbdCommand.Write or NbdCommand.Cache && Length > NbdLimits.PayloadBytesMax)
            return Because(
                $"len ({Length}) is larger than max len ({NbdLimits.PayloadBytesMax})", NbdErrno.Invalid, out text);
        if (Command == NbdCommand.BlockStatus && !hasContexts)
            return Because("CMD_BLOCK_STATUS not negotiated", NbdErrno.Invalid, out text);
        if (Command == NbdCommand.BlockStatus && Length == 0)
            return Because($"need non-zero length for {Command} at {Offset}", NbdErrno.Invalid, out text);
        if (Command is NbdCommand.Flush or NbdCommand.Disconnect)
            return 0;
        if (Offset > (ulong)size || Length > (ulong)size - Offset)
            return Because(
                $"operation past EOF; From: {Offset}, Len: {Length}, Size: {size}",
                Command is NbdCommand.Write or NbdCommand.WriteZeroes ? NbdErrno.NoSpace : NbdErrno.Invalid, out text);
        return 0;
    }

    private static NbdCommandFlags? AllowedFlags(NbdCommand command) => command switch
    {
        NbdCommand.Read => NbdCommandFlags.Fua | NbdCommandFlags.DontFragment,
        NbdCommand.Write or NbdCommand.Flush or NbdCommand.Trim or NbdCommand.Cache or NbdCommand.Disconnect => NbdCommandFlags.Fua,
        NbdCommand.WriteZeroes => NbdCommandFlags.Fua | NbdCommandFlags.NoHole | NbdCommandFlags.FastZero,
        NbdCommand.BlockStatus => NbdCommandFlags.Fua | NbdCommandFlags.RequestOne,
        _ => null,
    };

    private static int Because(string reason, int errno, out string text)
    {
        text = reason;
        return errno;
    }
}
