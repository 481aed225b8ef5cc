using System.Buffers.Binary;
using BitmapLedger.Bitmaps;
using BitmapLedger.Journal;

namespace BitmapLedger.Simulation.Tests;

/// <summary>An open file of the simulated disk.</summary>
internal sealed class SimulatedFile(World world, SimulatedDisk disk, SimulatedInode inode) : IJournalFile
{
    public long Length => inode.Length;

    /// <summary>What says that a disk fails lies, here, where it does not fail at the same moment.</summary>
    private bool IsBoot => inode.Name.StartsWith("boot", StringComparison.Ordinal) || inode.Name == "flush";

    /// <summary>The log that is in use, not the one that is being made.</summary>
    private bool IsActivity => inode.IsInUse && inode.Name.StartsWith("activity", StringComparison.Ordinal);

    public void Allocate(long length)
    {
        world.Change(() => { });
        if (world.Fails())
            throw new IOException("no space left on device");
        inode.Resize((int)length);
    }

    public int Read(Span<byte> target, long offset)
    {
        var length = inode.Read(target, offset);
        if (world.Mutant == Mutant.BelieveZeroes && offset == 0 && SegmentHeader.TryRead(target[..length], out _) is not null)
            DeclareNothing(target);
        return length;
    }

    public void Write(ReadOnlySpan<byte> source, long offset)
    {
        var bytes = source.ToArray();
        world.Change(() => inode.Write(bytes.AsSpan(0, Part(bytes.Length, offset)), offset));
        if (!IsBoot && world.Fails())
        {
            inode.Write(bytes.AsSpan(0, Part(bytes.Length, offset)), offset);
            throw new IOException("no space left on device");
        }

        if (world.Mutant == Mutant.ActivityAfterData && IsActivity)
            disk.Postpone(() => inode.Write(bytes, offset));
        else
            inode.Write(source, offset);
    }

    public void Sync()
    {
        world.Change(() => { });
        if (!IsBoot && world.Fails())
        {
            inode.FailSync(world.Random);
            disk.Forgets();
            if (world.Mutant != Mutant.BelieveFailedSync)
                throw new IOException("input/output error");
        }

        if (world.Mutant == Mutant.ActivityAfterData && IsActivity)
            disk.Postpone(inode.Sync);
        else if (!IsSkipped())
            inode.Sync();
    }

    public void Dispose()
    {
    }

    /// <summary>As a header of version 2: whatever is missing before it, or in its segment, passes for void.</summary>
    private static void DeclareNothing(Span<byte> header)
    {
        header[4] = 2;
        var checksum = Crc32C.Of(header[..(SegmentHeader.Size - sizeof(uint))]);
        BinaryPrimitives.WriteUInt32LittleEndian(header[(SegmentHeader.Size - sizeof(uint))..], checksum);
    }

    /// <summary>How much of a write happens that is cut off: the system copies page by page, so a sector is never cut.</summary>
    private int Part(int length, long offset)
    {
        var boundaries = (int)((offset + length - 1) / SimulatedInode.Sector - offset / SimulatedInode.Sector);
        var boundary = world.Random.Next(boundaries + 1);
        return boundary == 0 ? 0 : (int)((offset / SimulatedInode.Sector + boundary) * SimulatedInode.Sector - offset);
    }

    private bool IsSkipped() => world.Mutant switch
    {
        Mutant.SkipActivitySync => IsActivity,
        Mutant.SkipCopySync => inode.Directory.EndsWith(".next", StringComparison.Ordinal),
        Mutant.SkipJournalSync => inode.Name.EndsWith(".seg", StringComparison.Ordinal),
        _ => false,
    };
}
