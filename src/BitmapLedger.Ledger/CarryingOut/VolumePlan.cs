using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain;
using BitmapLedger.Journal;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.CarryingOut;

/// <summary>What a request to create a volume comes to, checked.</summary>
internal sealed record VolumePlan(
    string File, long? NewBytes, string Backend, bool ReadOnly, string Durability, string WhenFull)
{
    /// <summary>8 EiB less a block would be the protocol's end; a file system's comes sooner and says so
    /// itself.</summary>
    private const long SizeMax = 1L << 60;

    /// <summary>As QEMU: what it makes is whole sectors, rounded up, and what it resizes has to be asked for in such.</summary>
    private const long SectorBytes = 512;

    public static VolumePlan Of(CreateVolumeRequest request, LedgerSettings settings)
    {
        var durability = OneOf("durability", request.Durability ?? "power", "power", "process");
        var whenFull = OneOf("when-full", request.WhenFull ?? "stall", "stall", "fail");
        if (request.Backend is { } backend)
            return new(PathOf(backend), NewBytes: null, backend, request.ReadOnly, durability, whenFull);
        if (request.Size is not ({ } size and > 0 and <= SizeMax))
            throw new LedgerException(
                ErrorCode.BadArgument, $"{request.Size ?? 0} is no size of a volume",
                "take 1 byte to 1 EiB, for example 20G");
        var file = request.File ?? Path.Combine(settings.DataDirectory, "volumes", $"{request.Name}.img");
        var sectors = (size + SectorBytes - 1) / SectorBytes;
        return new(file, sectors * SectorBytes, $"file:{file}", request.ReadOnly, durability, whenFull);
    }

    /// <summary>Makes the sparse file of a new volume; true when it did.</summary>
    public bool MakeFile()
    {
        if (NewBytes is not { } size)
            return false;
        try
        {
            var directory = Path.GetDirectoryName(File)!;
            Directory.CreateDirectory(directory);
            using var file = new FileStream(File, FileMode.CreateNew, FileAccess.Write);
            file.SetLength(size);
            // Before the ledger has the volume: after a power loss it must find the file, and as long as it was.
            file.Flush(flushToDisk: true);
            PosixDisk.Instance.SyncDirectory(directory);
            return true;
        }
        catch (IOException) when (System.IO.File.Exists(File))
        {
            throw new LedgerException(
                ErrorCode.Exists, $"'{File}' is there already", $"`volume add NAME --backend file:{File}` takes it over");
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            throw new LedgerException(ErrorCode.Failed, $"Cannot create '{File}': {refusal.Message}");
        }
    }

    public VolumeCreated Event(string name) =>
        new(name, NewBytes ?? LengthOf(File, ReadOnly), Backend, File, ReadOnly, Durability, WhenFull, AtLsn: 0);

    private static string OneOf(string what, string value, params string[] allowed) => allowed.Contains(value)
        ? value
        : throw new LedgerException(
            ErrorCode.BadArgument, $"'{value}' is no {what}", $"take {string.Join(" or ", allowed)}");

    private static string PathOf(string backend)
    {
        foreach (var prefix in new[] { "file:", "device:" })
            if (backend.StartsWith(prefix, StringComparison.Ordinal) && Path.IsPathRooted(backend[prefix.Length..]))
                return backend[prefix.Length..];
        throw new LedgerException(
            ErrorCode.BadArgument, $"'{backend}' is no backend that can be served yet", "take file:PATH or device:PATH, with an absolute path");
    }

    private static long LengthOf(string path, bool readOnly)
    {
        ImageFile.RefuseUnusable(path, readOnly);
        try
        {
            var length = ImageFile.Length(path, readOnly);
            return length > 0
                ? length
                : throw new LedgerException(
                    ErrorCode.Failed, $"'{path}' is empty", "give it a size first, for example truncate -s 20G");
        }
        catch (Exception missing) when (missing is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new LedgerException(ErrorCode.Failed, $"Could not open '{path}': No such file or directory");
        }
        catch (UnauthorizedAccessException)
        {
            throw new LedgerException(ErrorCode.Failed, $"Could not open '{path}': Permission denied");
        }
        catch (IOException refusal)
        {
            throw new LedgerException(ErrorCode.Failed, $"Could not open '{path}': {refusal.Message}");
        }
    }
}
