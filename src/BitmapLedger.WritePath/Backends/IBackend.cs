using BitmapLedger.Journal;

namespace BitmapLedger.WritePath.Backends;

/// <summary>
/// Where the data of a volume is. Each operation answers an errno of the protocol, 0 for success; none allocates. Any
/// number
/// of threads.
/// </summary>
public interface IBackend : IVolumeData, IDisposable
{
    /// <summary>Length in bytes.</summary>
    long Size { get; }

    /// <summary>What tells whether somebody else wrote to it while it was closed.</summary>
    FileIdentity Identity();

    /// <summary>Reads; bytes behind the end of what is there are zeroes.</summary>
    int Read(long offset, Span<byte> target);

    /// <summary>Reads what is in memory already.</summary>
    /// <returns>False when the disk would have to be waited for, or does not say.</returns>
    bool TryReadNoWait(long offset, Span<byte> target);

    /// <summary>Writes.</summary>
    int Write(long offset, ReadOnlySpan<byte> source);

    /// <summary>Makes bytes read as zeroes.</summary>
    /// <param name="offset">First byte.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="mayPunchHole">Whether the space may go.</param>
    /// <param name="fast">Whether to refuse rather than to write zeroes.</param>
    int WriteZeroes(long offset, long length, bool mayPunchHole, bool fast);

    /// <summary>Gives the space of bytes back; where it cannot be given back nothing changes.</summary>
    int Trim(long offset, long length);

    /// <summary>Makes what was written before durable. Where that fails it may be forgotten, and another call does not
    /// help.</summary>
    int Flush();

    /// <summary>Gives it another length; what it has more than before reads as zeroes, and is there after a power loss.
    /// No request is under way to bytes that it takes away or adds.</summary>
    /// <param name="before">Bytes in use until now; what a longer file has behind them goes first.</param>
    /// <param name="bytes">Bytes in use from now on.</param>
    /// <exception cref="BackendException">It keeps its length.</exception>
    void Resize(long before, long bytes);

    /// <summary>How far the bytes from <paramref name="offset"/> on are all data, or all hole.</summary>
    /// <returns>Whether they are a hole; where nobody says, data to the end.</returns>
    bool IsHole(long offset, long end, out long until);
}
