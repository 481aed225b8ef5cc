using System.Buffers.Binary;

namespace BitmapLedger.Journal;

/// <summary>
/// The file <c>flush</c>: whether a flush is under way, or has failed. The system reports once that it has forgotten data,
/// and whoever was told may be killed before he has passed it on; so this is noted before each flush and after it, in
/// place and unsynced: it has to outlive the process, not the machine. Layout: FORMAT.md.
/// </summary>
internal sealed class FlushNote : IDisposable
{
    private const uint Magic = 0x4C46_4D42; // "BMFL" as it lies on disk
    private const byte Version = 1;
    private const int Size = 8;
    private readonly IJournalFile _file;

    private FlushNote(IJournalFile file) => _file = file;

    private enum State : byte
    {
        None = 0,
        UnderWay = 1,
        Failed = 2,
    }

    /// <summary>
    /// Whether a flush of the last run, which was killed in this boot, has failed. Where it was under way the system is
    /// asked, which tells it once: so the answer is noted first.
    /// </summary>
    public static bool HasFailed(JournalOptions options)
    {
        using var file = options.Disk.TryOpen(PathOf(options), writable: true);
        // Made, and never used: whoever made it was killed before his first flush.
        if (file is null || file.Length == 0)
            return false;
        Span<byte> bytes = stackalloc byte[Size];
        if (file.Read(bytes, 0) < Size || BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Magic)
            return true;
        if ((State)bytes[5] != State.UnderWay)
            return (State)bytes[5] != State.None;
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

    /// <summary>Begins anew: what the last one said has been dealt with.</summary>
    public static FlushNote Open(JournalOptions options)
    {
        var file = options.Disk.TryOpen(PathOf(options), writable: true) ?? options.Disk.Create(PathOf(options));
        try
        {
            Write(file, State.None);
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

    private static string PathOf(JournalOptions options) => Path.Combine(options.Directory, "flush");

    private static void Write(IJournalFile file, State state)
    {
        Span<byte> bytes = stackalloc byte[Size];
        bytes.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        bytes[4] = Version;
        bytes[5] = (byte)state;
        file.Write(bytes, 0);
    }

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
