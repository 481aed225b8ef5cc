using System.Buffers.Binary;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>
/// The file <c>flush</c>: whether a flush is under way, or has failed. The system reports once that it has forgotten data,
/// and whoever was told may be killed before he has passed it on; so this is noted before each flush and after it, in
/// place and unsynced: it has to outlive the process, not the machine. Layout: FORMAT.md.
/// </summary>
internal sealed class FlushNote : IDisposable
{
    private const uint Magic = 0x4C46_4D42; // "BMFL" as it lies on disk
    private const byte Version = 2;
    private const byte FirstWithCheck = 2;
    private const int Size = 8;
    private readonly IJournalFile _file;

    private FlushNote(IJournalFile file) => _file = file;

    private enum State : byte
    {
        None = 0,
        UnderWay = 1,
        Failed = 2,
    }

    public static string PathIn(string directory) => Path.Combine(directory, "flush");

    /// <summary>
    /// Whether a flush of the last run, which was killed in this boot, has failed. Where it was under way the system is
    /// asked, which tells it once: so the answer is noted first.
    /// </summary>
    public static bool HasFailed(JournalOptions options)
    {
        var path = PathIn(options.Directory);
        using var file = options.Disk.TryOpen(path, writable: true);
        if (file is null)
            return false;
        State noted;
        try
        {
            noted = Read(options.Disk, path);
        }
        catch (CorruptionException)
        {
            // The worst that may have stood there.
            return true;
        }

        if (noted != State.UnderWay)
            return noted != State.None;
        if (!HasForgotten(options))
            return false;
        Write(file, State.Failed);
        return true;
    }

    /// <summary>Whether the system has forgotten anything, of data or of journal, and has told nobody.</summary>
    public static bool HasForgotten(JournalOptions options)
    {
        var data = options.Data?.HasForgotten() ?? false;
        return options.Disk.HasForgotten(options.Directory) || data;
    }

    /// <summary>Looks for damage. An empty note, or one of zeroes, is none: a power loss leaves that of what was never synced.</summary>
    /// <exception cref="CorruptionException">The note is not what was written.</exception>
    /// <exception cref="FormatVersionException">A later program wrote it.</exception>
    /// <exception cref="IOException">The disk reads nothing at all.</exception>
    public static void Check(IJournalDisk disk, string directory)
    {
        if (WholeFile.ReadBytes(disk, PathIn(directory)) is { } bytes && bytes.AsSpan().ContainsAnyExcept((byte)0))
            _ = Read(disk, PathIn(directory));
    }

    /// <summary>Begins anew: what the last one said has been dealt with.</summary>
    public static FlushNote Open(JournalOptions options)
    {
        var path = PathIn(options.Directory);
        // A damaged one is replaced: a place that the disk cannot read may take nothing, and one that is too long stays so.
        var there = IsWhole(options.Disk, path) ? options.Disk.TryOpen(path, writable: true) : null;
        var file = there ?? options.Disk.Create(path + ".next");
        try
        {
            Write(file, State.None);
            // Never there and empty: that would be damage.
            if (there is null)
                options.Disk.Move(path + ".next", path);
            return new(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public void Begin() => TryWrite(State.UnderWay);

    public void End() => TryWrite(State.None);

    public void Fail() => TryWrite(State.Failed);

    public void Dispose() => _file.Dispose();

    private static bool IsWhole(IJournalDisk disk, string path)
    {
        try
        {
            _ = Read(disk, path);
            return true;
        }
        catch (CorruptionException)
        {
            return false;
        }
    }

    private static State Read(IJournalDisk disk, string path)
    {
        var bytes = WholeFile.ReadBytes(disk, path) ?? [];
        if (bytes.Length != Size || BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Magic)
            throw new CorruptionException(path, 0, WholeFile.MagicFault);
        var (version, state) = (bytes[4], bytes[5]);
        // Before the version, which a turned bit could have raised.
        if ((bytes[6], bytes[7]) != (version < FirstWithCheck ? (0, 0) : (Turned(state), Turned(version))))
            throw new CorruptionException(path, 6, "what stands there twice does not match");
        if (version > Version)
            throw new FormatVersionException(path, version, Version);
        return version > 0 && (State)state <= State.Failed
            ? (State)state
            : throw new CorruptionException(path, 4, WholeFile.ValueFault);
    }

    private static void Write(IJournalFile file, State state)
    {
        Span<byte> bytes = stackalloc byte[Size];
        bytes.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        bytes[4] = Version;
        bytes[5] = (byte)state;
        bytes[6] = Turned(bytes[5]);
        bytes[7] = Turned(bytes[4]);
        file.Write(bytes, 0);
    }

    private static byte Turned(byte value) => (byte)~value;

    private void TryWrite(State state)
    {
        try
        {
            Write(_file, state);
        }
        catch (IOException)
        {
            // A disk that takes not even this does not take the flush either, and that is said to the client.
        }
    }
}
