using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Tests;

/// <summary>
/// A volume to which every kind of command happens at random, as it is decided, and beside the stream the same events in a
/// list and their naive fold at each of them.
/// </summary>
internal sealed class RandomVolume(TestLedger ledger, int seed)
{
    private static readonly string[] _names = ["b0", "b1", "b2"];
    private readonly Random _random = new(seed);
    private readonly List<(IVolumeEvent Data, DateTimeOffset Time)> _events = [(
        new VolumeCreated("v", TestLedger.Size, "file:/v", "/v", false, "process", "stall", 0), default)];
    private VolumeState _state = new VolumeState { Id = ledger.VolumeId }.Apply(
        new VolumeCreated("v", TestLedger.Size, "file:/v", "/v", false, "process", "stall", 0), 1, default);
    private long _time = 1_750_000_000_000_000;

    /// <summary>Number of the last event.</summary>
    public long Count => _events.Count;

    /// <summary>The events, the first one first.</summary>
    public IReadOnlyList<(IVolumeEvent Data, DateTimeOffset Time)> Events => _events;

    /// <summary>Appends so many events or a few more.</summary>
    public async Task AppendAsync(int count)
    {
        for (var through = Count + count; Count < through;)
        {
            var before = _events.Count;
            for (var pages = _random.Next(1, 40); pages > 0; pages--)
                Step();
            TimedEvent[] page = [.. _events.Skip(before).Select(e => new TimedEvent(e.Data, e.Time))];
            await ledger.Streams.AppendAsync([new(ledger.VolumeId, before, page)], null, null, CancellationToken.None);
        }
    }

    /// <summary>Takes an event into a naive fold, up to a write.</summary>
    public void Apply(BitmapReplay fold, long number, long throughLsn) =>
        fold.Apply(_events[(int)number - 1].Data, number, _events[(int)number - 1].Time, throughLsn);

    /// <summary>The position behind an event.</summary>
    public Position Behind(long number) => new(number, _events[(int)number - 1].Data switch
    {
        WritesRecorded { Packed: var packed } => packed.LastLsn,
        ICommandEvent command => command.AtLsn,
        _ => 0,
    }, default);

    /// <summary>A position behind an event or in the middle of one.</summary>
    public Position Inside(long number) => _events[(int)number - 1].Data is WritesRecorded { Packed: var packed }
        ? new(number, _random.NextInt64(packed.FirstLsn, packed.LastLsn + 1), default)
        : Behind(number);

    private void Step()
    {
        if (_random.Next(3) > 0)
            Append(Writes());
        else if (VolumeDecider.Decide([Command()], _state, _state.LastLsn, default) is { Refusal: null } decision)
            foreach (var happened in decision.Events)
                Append(happened);
    }

    private VolumeCommand Command()
    {
        var name = _names[_random.Next(_names.Length)];
        return _random.Next(40) switch
        {
            < 6 => new VolumeCommand.AddBitmap(name, 512L << _random.Next(9), _random.Next(4) == 0, Persistent: true),
            6 => new VolumeCommand.RemoveBitmap(name),
            7 => new VolumeCommand.ClearBitmap(name),
            8 or 9 => new VolumeCommand.EnableBitmap(name),
            10 => new VolumeCommand.DisableBitmap(name),
            < 16 => new VolumeCommand.MergeBitmap(name, [new(_names[_random.Next(_names.Length)])]),
            16 or 17 => new VolumeCommand.SetRetention(name, _random.Next(2, 5), "cycle"),
            < 22 => new VolumeCommand.BankSlice(name, ForceCycle: true),
            22 => new VolumeCommand.DeleteSlice(name, _state.Bitmap(name)?.Slices is [var oldest, ..] ? oldest.Number : 0),
            23 or 24 => new VolumeCommand.ResizeVolume(512 * _random.NextInt64(TestLedger.Size / 1024, TestLedger.Size / 256)),
            25 or 26 => new VolumeCommand.StartBackup($"j{name}", "incremental", [name], "on-success", ForceCycle: true),
            27 or 28 => new VolumeCommand.EndBackup($"j{name}", new BackupOutcome.Succeeded()),
            29 => new VolumeCommand.EndBackup($"j{name}", new BackupOutcome.Cancelled(null)),
            30 => new VolumeCommand.LoseTracking(ToLsn: null, $"why {Count}"),
            31 or 32 => new VolumeCommand.RecoverWrites([new(_random.NextInt64(_state.Size), 65_536)]),
            33 => Import(name),
            _ => new VolumeCommand.CreateCheckpoint($"c{Count}", ["v"]),
        };
    }

    private VolumeCommand.ImportBitmap Import(string name)
    {
        using var map = new NativeBitmap(_state.Size, Granularity.FromBytes(4096));
        for (var i = 0; i < 50; i++)
            map.MarkBlocks(new(_random.NextInt64(map.BlockCount), 1));
        return new(name, 4096, new(Disabled: false, Persistent: true), BitmapCodec.Encode(map), "a test");
    }

    private WritesRecorded Writes()
    {
        var writes = Enumerable.Range(1, _random.Next(1, 30)).Select(i => new SingleWrite(
            _state.LastLsn + i, _time += _random.Next(1000), WriteKind.Write, 512 * _random.NextInt64(_state.Size / 512 - 20),
            512 * _random.NextInt64(1, 20), 1)).ToArray();
        _ = PackedWrites.TryRead(PackedWrites.Encode(writes, [], []), out var packed);
        return new(packed!);
    }

    private void Append(IVolumeEvent happened)
    {
        var time = Contracts.Points.Timestamps.FromMicroseconds(_time);
        _events.Add((happened, time));
        _state = _state.Apply(happened, _events.Count, time);
    }
}
