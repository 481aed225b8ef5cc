using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Journal;
using BitmapLedger.Nbd;
using BitmapLedger.Testing;
using BitmapLedger.WritePath.Control;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.WritePath.Tests;

/// <summary>A volume whose past is asked of a ledger that reads its journal, or does as a test says.</summary>
internal sealed class TestContexts : ILedger, IDisposable
{
    public const long Sector = 512;
    private static readonly Guid _id = Guid.Parse("0190a000-0000-7000-8000-000000000005");
    private readonly ScratchDirectory _scratch = new();
    private readonly IContextMaker _client;

    public TestContexts(long bytes)
    {
        using (var image = File.Create(_scratch["v.img"]))
            image.SetLength(bytes);
        Volumes = new(_scratch.Path, Machine.This());
        Ask(new OpenVolume(new(_id, "v", _scratch["v.img"], bytes, ReadOnly: false, "process", "stall", 4L << 30, MinLsn: 0)));
        Ask(new PublishVolume(_id));
        Shared = new(Volumes.Bits, Said.Add) { Ledger = this };
        _client = Shared.For("test");
        Answers = Answer;
    }

    public VolumeSet Volumes { get; }

    public LedgerContexts Shared { get; }

    public List<string> Said { get; } = [];

    /// <summary>What the ledger answers; null for nothing, ever.</summary>
    public Func<ControlRequest, ControlReply?> Answers { get; set; }

    public TrackedVolume Volume => Export.Volume;

    public VolumeExport Export => (VolumeExport)Volumes.List()[0];

    public LedgerQuestion Ask(ControlRequest question, TimeSpan limit) =>
        Answers(question) is { } reply ? LedgerQuestion.Answered(reply) : new();

    /// <summary>A command of the server, and the bitmaps as they are then.</summary>
    public void Rotate(long? bytes = null)
    {
        var fence = ((Rotated)Volumes.Handle(new Rotate([new(_id, Sector, bytes)]))).Fences[0];
        Ask(new Settle(_id, fence.Number, [new("b0", Sector, Recording: true, [], File: null)]));
    }

    public IReadOnlyList<IMetaContext> Make(params IReadOnlyList<string> ranges) =>
        _client.Make(Export, [.. ranges.Select(r => $"x-bitmapledger:{r}")]);

    public IReadOnlyList<string> List(params IReadOnlyList<string> queries) => _client.List(Export, queries);

    /// <summary>The sectors after an LSN that the journal holds now.</summary>
    public ControlReply Answer(ControlRequest question)
    {
        var (from, lsn) = question is ChangedBits changed
            ? (long.Parse(changed.From["lsn:".Length..]), changed.Lsn)
            : throw new ArgumentOutOfRangeException(nameof(question));
        using var map = new NativeBitmap(Volume.Spec.Size, Granularity.FromBytes(Sector));
        using var reader = new JournalReader(Path.Combine(_scratch.Path, "journal", _id.ToString("D")), _id);
        var writes = new SingleWrite[4096];
        for (int count; (count = reader.Read(from, writes)) > 0;)
            foreach (var write in writes.AsSpan(0, count))
            {
                map.MarkDirty(write.Offset, write.Length);
                from = write.Lsn;
            }

        Assert.True(from >= lsn, $"the journal ends at {from}, and the watch has begun behind {lsn}");
        return new BitsFile(Volumes.Bits.Put(BitmapCodec.Encode(map)));
    }

    public static void Write(VolumeWriter writer, long sector, long sectors = 1)
    {
        PendingWrite[] batch = [new() { Kind = WriteKind.Write, Offset = sector * Sector, Length = sectors * Sector }];
        writer.Write(new byte[sectors * Sector], batch);
        Assert.Equal(0, batch[0].Errno);
    }

    /// <summary>What a context calls changed, as sectors.</summary>
    public HashSet<long> Changed(IMetaContext context)
    {
        List<StatusExtent> extents = [];
        Assert.True(context.TryDescribe(0, Volume.Spec.Size, NbdLimits.ExtentsMax, extents));
        var at = 0L;
        HashSet<long> sectors = [];
        foreach (var extent in extents)
        {
            for (var sector = at / Sector; extent.Flags == 1 && sector < (at + extent.Length) / Sector; sector++)
                sectors.Add(sector);
            at += extent.Length;
        }

        Assert.Equal(Volume.Spec.Size, at);
        return sectors;
    }

    /// <summary>Files that lie in <c>run/bits</c>.</summary>
    public string[] BitsFiles => Directory.Exists(_scratch["run/bits"]) ? Directory.GetFiles(_scratch["run/bits"]) : [];

    public void Dispose()
    {
        Volumes.Dispose();
        _scratch.Dispose();
    }

    private void Ask(ControlRequest request) => Assert.IsType<Done>(Volumes.Handle(request));
}
