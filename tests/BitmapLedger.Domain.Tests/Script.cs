using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Tests;

/// <summary>Volumes that writes and transactions happen to, as a shell would carry them out.</summary>
internal sealed class Script : IDisposable
{
    private static readonly DateTimeOffset _time = new(2026, 11, 22, 21, 36, 3, TimeSpan.Zero);
    private readonly Dictionary<string, Volume> _volumes = [];

    /// <summary>Events of the last transaction.</summary>
    public IReadOnlyList<IVolumeEvent> Happened { get; private set; } = [];

    public VolumeState this[string volume] => _volumes[volume].Replay.State;

    public Script With(string volume, long size)
    {
        var made = new Volume(Guid.NewGuid(), new());
        _volumes[volume] = made;
        Apply(made, new VolumeCreated(volume, size, "file:/v", "/v", false, "process", "stall", 0));
        return this;
    }

    public Guid Id(string volume) => _volumes[volume].Id;

    public void Write(string volume, params (long Offset, long Length)[] writes)
    {
        var last = this[volume].LastLsn;
        _ = PackedWrites.TryRead(
            PackedWrites.Encode(
                [.. writes.Select((w, i) => new SingleWrite(last + 1 + i, 1, WriteKind.Write, w.Offset, w.Length, 1))], [], []), out var packed);
        Apply(_volumes[volume], new WritesRecorded(packed!));
    }

    /// <summary>Carries a transaction out, or says why not.</summary>
    public Refusal? Try(params (string Volume, VolumeCommand Command)[] actions)
    {
        var decision = TransactionDecider.Decide(
            [.. actions.Select(a => new VolumeAction(a.Volume.Length == 0 ? default : Id(a.Volume), a.Command))],
            [.. _volumes.Values.Select(v => new VolumePlace(v.Replay.State with { Id = v.Id }, v.Replay.State.LastLsn, _time))]);
        if (decision.Refusal is not null)
            return decision.Refusal;
        decision = decision.WithForeignBits(b => _volumes.Values.Single(v => v.Id == b.Volume).Replay.Bits(b.Name));
        Happened = [.. decision.Volumes.SelectMany(v => v.Events)];
        foreach (var (volume, decided) in _volumes.Values.Zip(decision.Volumes))
            foreach (var happened in decided.Events)
                Apply(volume, happened);
        return null;
    }

    /// <summary>Carries out what must not be refused.</summary>
    public void Do(params (string Volume, VolumeCommand Command)[] actions) => Assert.Null(Try(actions));

    public NativeBitmap Bits(string volume, string bitmap) => _volumes[volume].Replay.Bits(bitmap);

    public NativeBitmap Slice(string volume, string bitmap, long number) => _volumes[volume].Replay.SliceBits(bitmap, number);

    public long Count(string volume, string bitmap) => Bits(volume, bitmap).DirtyBytes;

    /// <summary>What a partial backup from a slice copies: bytes, evaluated from the terms.</summary>
    public long CountFrom(string volume, string bitmap, long slice)
    {
        var state = this[volume].Bitmap(bitmap)!;
        using var bits = ExpressionFold.Evaluate(state.FromSlice(slice)!, state.Granularity, _volumes[volume].Events);
        return bits.DirtyBytes;
    }

    /// <summary>Encoded bits of some blocks.</summary>
    public RestBits Rest(string volume, long granularity, params long[] blocks)
    {
        using var map = new NativeBitmap(this[volume].Size, Granularity.FromBytes(granularity));
        foreach (var block in blocks)
            map.MarkBlocks(new(block, 1));
        return new(granularity, BitmapCodec.Encode(map));
    }

    public void Dispose()
    {
        foreach (var volume in _volumes.Values)
            volume.Replay.Dispose();
    }

    private static void Apply(Volume volume, IVolumeEvent happened)
    {
        volume.Events.Add(happened);
        volume.Replay.Apply(happened, volume.Events.Count, _time);
    }

    private sealed record Volume(Guid Id, BitmapReplay Replay)
    {
        public List<IVolumeEvent> Events { get; } = [];
    }
}
