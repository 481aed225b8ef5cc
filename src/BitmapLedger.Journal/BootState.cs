using System.Buffers.Binary;
using System.Text;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>Why writes may have gone unrecorded; stored, values never change.</summary>
internal enum LossReason : byte
{
    None = 0,

    /// <summary>The machine went down under durability <c>process</c>.</summary>
    MachineWentDown = 1,

    /// <summary>The data is not the file that was closed.</summary>
    ChangedWhileClosed = 2,

    /// <summary>The disk refused to make the data, or the journal, durable.</summary>
    NotDurable = 3,

    /// <summary>How the run before ended could not be kept when its journal was set aside.</summary>
    EndUnknown = 4,
}

/// <summary>
/// Whether the journal was closed in order, in which boot of the machine it was last open, and what is to be told to
/// the
/// ledger. Replaced whole and durably. Layout: FORMAT.md.
/// </summary>
internal sealed class BootState
{
    private const uint Magic = 0x5342_4D42; // "BMBS" as it lies on disk
    private const int OldSize = 64;
    private const int SizeWithoutLosses = 128;
    private const int Size = 160;
    private const byte Version = 4;
    private const byte FirstWithLosses = 4;
    private const byte FirstWithLsns = 3;
    private const byte FirstWithIdentity = 2;
    private const int VersionAt = 6;
    private const int BootIdBytes = 36;
    private const int SuspectBit = 1;
    private const int UnsureBit = 2;
    private readonly IJournalDisk _disk;
    private readonly string _path;
    private readonly byte[] _bootId = new byte[BootIdBytes];
    private readonly long _mounts;

    private BootState(IJournalDisk disk, string directory, string bootId, long mounts)
    {
        _disk = disk;
        _mounts = mounts;
        _path = PathIn(directory);
        _ = Encoding.ASCII.GetBytes(bootId.AsSpan(0, Math.Min(bootId.Length, BootIdBytes)), _bootId);
    }

    /// <summary>False when nobody ever opened the journal.</summary>
    public bool Exists { get; private set; }

    /// <summary>Whether the last run closed the journal, everything durable.</summary>
    public bool WasClosed { get; private set; }

    /// <summary>Whether the machine is up, and the file systems are mounted, since the last run.</summary>
    public bool IsSameBoot { get; private set; }

    /// <summary>Whether the disk refused to make something durable: what is there may revert, as after a power
    /// loss.</summary>
    public bool IsSuspect { get; private set; }

    /// <summary>Whether the disk refused something in this boot that nobody wrote again: nothing counts as closed in order
    /// before the next one.</summary>
    public bool IsUnsure { get; private set; }

    /// <summary>The data as the last run closed it.</summary>
    public FileIdentity Identity { get; private set; }

    /// <summary>LSNs go on above this, whatever else is there: after a power loss the ceiling of the run before.</summary>
    public long FloorLsn { get; private set; }

    /// <summary>LSN up to which the data of every write was durable, or told as what a power loss may have undone, when the
    /// journal was opened.</summary>
    public long SettledLsn { get; private set; }

    /// <summary>LSN of the last write that stood in the segments when the journal was closed; 0 when nobody knows.</summary>
    public long StoredLsn { get; private set; }

    /// <summary>Why writes may be missing, until <see cref="Acknowledge"/>.</summary>
    public LossReason Loss { get; private set; }

    /// <summary>Where the first happened of what the ledger was not told yet; <see cref="LossPlace.None"/> when nobody knows.</summary>
    public LossPlace FirstLoss { get; private set; }

    /// <summary>Where the last of it happened; the same when there was one.</summary>
    public LossPlace LastLoss { get; private set; }

    public static string PathIn(string directory) => Path.Combine(directory, "boot");

    /// <summary>Reads what the last run left; changes nothing.</summary>
    /// <param name="disk">Where it is.</param>
    /// <param name="directory">Of the journal.</param>
    /// <param name="bootId">This boot of the machine.</param>
    /// <param name="mounts">See <see cref="JournalOptions.Mounts"/>.</param>
    /// <exception cref="CorruptionException">The file is not what was written.</exception>
    /// <exception cref="FormatVersionException">A later program wrote it.</exception>
    public static BootState Read(IJournalDisk disk, string directory, string bootId, long mounts)
    {
        var state = new BootState(disk, directory, bootId, mounts);
        if (WholeFile.Read(disk, state._path, Magic, VersionAt, Version) is not { } bytes)
            return state;
        if (bytes.Length != SizeOf(bytes[VersionAt]) - sizeof(uint) || bytes[5] > (byte)LossReason.EndUnknown)
            throw new CorruptionException(state._path, 0, WholeFile.ValueFault);
        state.Exists = true;
        state.WasClosed = bytes[4] != 0;
        state.Loss = (LossReason)bytes[5];
        state.IsSameBoot = bytes.AsSpan(8, BootIdBytes).SequenceEqual(state._bootId);
        if (bytes[VersionAt] < FirstWithIdentity)
            return state;
        state.IsSuspect = (bytes[7] & SuspectBit) != 0;
        state.IsUnsure = (bytes[7] & UnsureBit) != 0;
        state.Identity = new(
            BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(48)),
            BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(56)),
            BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(64)),
            BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(72)));
        state.FloorLsn = BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(80));
        if (bytes[VersionAt] < FirstWithLsns)
            return state;
        state.StoredLsn = BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(88));
        state.SettledLsn = BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(96));
        var before = BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(104));
        state.IsSameBoot &= before == 0 || mounts == 0 || before == mounts;
        if (bytes[VersionAt] < FirstWithLosses)
            return state;
        state.FirstLoss = LossPlace.Read(bytes.AsSpan(112));
        state.LastLoss = LossPlace.Read(bytes.AsSpan(128));
        return state;
    }

    /// <summary>LSNs go on above this one too. A state that has no place for it goes: then they go on above the ceiling.</summary>
    public static void RaiseFloor(IJournalDisk disk, string directory, long lsn)
    {
        var path = PathIn(directory);
        if (WholeFile.Read(disk, path, Magic, VersionAt, Version) is not { } bytes)
            return;
        if (bytes[VersionAt] < FirstWithIdentity)
        {
            disk.Delete(path);
            return;
        }

        var raised = new byte[Size];
        bytes.CopyTo(raised, 0);
        raised[VersionAt] = Version;
        BinaryPrimitives.WriteInt64LittleEndian(raised.AsSpan(80), Math.Max(lsn, BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(80))));
        WholeFile.Write(disk, path, raised);
    }

    /// <summary>Marks the journal as open in this boot.</summary>
    /// <param name="loss">Why writes may be missing; what was not told yet stays.</param>
    /// <param name="floorLsn">LSNs go on above this.</param>
    /// <param name="settledLsn">What <see cref="SettledLsn"/> says from now on.</param>
    /// <param name="isUnsure">What <see cref="IsUnsure"/> says from now on.</param>
    /// <param name="lost">Where something happened that the ledger must be told, found by this opening; null when nothing
    /// did.</param>
    /// <param name="isMore">Whether the ledger was not told yet of what had happened before either.</param>
    public void Open(LossReason loss, long floorLsn, long settledLsn, bool isUnsure, LossPlace? lost, bool isMore)
    {
        if (lost is { } place)
            (FirstLoss, LastLoss) = (isMore ? FirstLoss : place, place);
        SettledLsn = settledLsn;
        FloorLsn = floorLsn;
        Loss = loss == LossReason.None ? Loss : loss;
        IsUnsure = isUnsure;
        IsSuspect = false;
        Write(closed: false, default);
    }

    /// <summary>The ledger has recorded the loss.</summary>
    public void Acknowledge()
    {
        if (Loss == LossReason.None)
            return;
        var before = Loss;
        Loss = LossReason.None;
        try
        {
            Write(closed: false, default);
        }
        catch
        {
            Loss = before;
            throw;
        }
    }

    /// <summary>What is on the disk is not what was written; said again at every chance until the disk takes it.</summary>
    public void Suspect()
    {
        if (IsSuspect)
            return;
        Write(closed: false, default, suspect: true);
        IsSuspect = true;
    }

    /// <summary>Everything is durable and nobody writes any more.</summary>
    /// <param name="identity">The data as it is now.</param>
    /// <param name="storedLsn">What <see cref="StoredLsn"/> says at the next start.</param>
    public void Close(in FileIdentity identity, long storedLsn) => Write(closed: true, identity, storedLsn: storedLsn);

    private static int SizeOf(byte version) => version switch
    {
        < FirstWithIdentity => OldSize,
        < FirstWithLosses => SizeWithoutLosses,
        _ => Size,
    };

    private void Write(bool closed, in FileIdentity identity, bool suspect = false, long storedLsn = 0)
    {
        var bytes = new byte[Size];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        bytes[4] = closed ? (byte)1 : (byte)0;
        bytes[5] = (byte)Loss;
        bytes[VersionAt] = Version;
        bytes[7] = (byte)((suspect || IsSuspect ? SuspectBit : 0) | (IsUnsure ? UnsureBit : 0));
        _bootId.CopyTo(bytes, 8);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(48), identity.Device);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(56), identity.Inode);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(64), identity.Size);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(72), identity.ChangedNanoseconds);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(80), FloorLsn);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(88), storedLsn);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(96), SettledLsn);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(104), _mounts);
        FirstLoss.Write(bytes.AsSpan(112));
        LastLoss.Write(bytes.AsSpan(128));
        WholeFile.Write(_disk, _path, bytes);
    }
}
