using System.Text.Json;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Tests;

/// <summary>A random history of one volume, decided step by step, and beside it what the naive model makes of it.</summary>
internal sealed class HistoryWalk : IDisposable
{
    private static readonly DateTimeOffset _time = new(2026, 11, 22, 21, 36, 3, TimeSpan.Zero);
    private readonly Random _random;
    private readonly List<IVolumeEvent> _events = [];

    public HistoryWalk(int seed)
    {
        _random = new(seed);
        Model = new(RandomSize());
        State = new() { Id = Guid.NewGuid() };
        Append(new VolumeCreated("v", Model.Size, "file:/v", "/v", false, "process", "stall", 0));
    }

    public VolumeState State { get; private set; }

    public NaiveVolume Model { get; }

    public BitmapReplay Replay { get; } = new();

    public IReadOnlyList<IVolumeEvent> Events => _events;

    /// <summary>Some writes, then a command that is allowed; checks what it must have made of bitmaps and slices.</summary>
    public void Step()
    {
        if (_random.Next(4) > 0)
            Write();
        if (_random.Next(12) == 0)
            Lose();
        var before = State;
        var count = _events.Count;
        var table = State.Bitmaps.SelectMany(Entries).ToDictionary(n => n, n => BitmapCodec.Encode(Replay.Bits(n)));
        Command();
        CheckTransfers(before, table, _events.Skip(count).ToList());
    }

    public void CheckAll()
    {
        var stored = JsonSerializer.Deserialize<VolumeState>(JsonSerializer.Serialize(State))!;
        foreach (var (name, naive) in Model.Bitmaps)
        {
            var bitmap = State.Bitmap(name)!;
            Check($"{name}", naive.Bits, Replay.Bits(name), bitmap.Bits, bitmap.Granularity);
            Assert.Equal(bitmap.Bits, stored.Bitmap(name)!.Bits);
            if (naive.Successor is { } successor)
                Check($"successor of {name}", successor, Replay.Bits(bitmap.SuccessorName), bitmap.Successor!, bitmap.Granularity);
            Assert.Equal(naive.Slices.Keys, bitmap.Slices.Select(s => s.Number));
            foreach (var slice in bitmap.Slices)
                Check($"slice {name}/{slice.Number}", naive.Slices[slice.Number], Replay.SliceBits(name, slice.Number), slice.Bits, bitmap.Granularity);
            CheckPartial(name, naive, bitmap);
        }

        Assert.Equal(Model.Bitmaps.Keys.Order(), State.Bitmaps.Select(b => b.Name).Order());
    }

    public void Dispose() => Replay.Dispose();

    private static IEnumerable<string> Entries(BitmapState bitmap) =>
        bitmap.Successor is null ? [bitmap.Name] : [bitmap.Name, bitmap.SuccessorName];

    /// <summary>From slice N to now is what a partial backup copies.</summary>
    private void CheckPartial(string name, NaiveBitmap naive, BitmapState bitmap)
    {
        foreach (var number in naive.Slices.Keys)
        {
            var union = (bool[])naive.Bits.Clone();
            NaiveVolume.Or(union, naive.Successor ?? []);
            foreach (var (_, bits) in naive.Slices.Where(s => s.Key >= number))
                NaiveVolume.Or(union, bits);
            using var evaluated = ExpressionFold.Evaluate(bitmap.FromSlice(number)!, bitmap.Granularity, _events);
            Assert.Equal(Dirty(union), Dirty(evaluated));
        }
    }

    private void Check(string what, bool[] naive, NativeBitmap folded, BitExpression terms, long granularity)
    {
        using var evaluated = ExpressionFold.Evaluate(terms, granularity, _events);
        Assert.True(Dirty(naive) == Dirty(folded), $"{what} folded is {Dirty(folded)}, not {Dirty(naive)}, after {Last()}");
        Assert.True(
            Dirty(naive) == Dirty(evaluated), $"{what} evaluated from '{terms}' is {Dirty(evaluated)}, not {Dirty(naive)}, after {Last()}");
    }

    /// <summary>A settlement carries the table before into the table after, knowing nothing but flows.</summary>
    private void CheckTransfers(VolumeState before, Dictionary<string, byte[]> table, List<IVolumeEvent> events)
    {
        foreach (var transfer in BitTransfer.Of(before, events))
        {
            using var bits = new NativeBitmap(State.Size, Granularity.FromBytes(transfer.Granularity));
            foreach (var flow in transfer.From)
            {
                using var source = GivenBits.Read(table[flow.Name]);
                flow.Path.Carry(source, bits);
            }

            foreach (var flow in transfer.Given)
            {
                using var given = GivenBits.Read(flow.Bits);
                flow.Path.Carry(given, bits);
            }

            Assert.True(
                Dirty(Replay.Bits(transfer.Name)) == Dirty(bits), $"{transfer.Name} settled is {Dirty(bits)}, not "
                + $"{Dirty(Replay.Bits(transfer.Name))}, after {Last()}");
        }
    }

    /// <summary>An event of a few writes.</summary>
    public void Write()
    {
        var writes = Enumerable.Range(1, _random.Next(1, 4)).Select(i =>
        {
            var offset = _random.NextInt64(Model.Size);
            var length = Math.Min(_random.Next(1, 20_000), Model.Size - offset);
            Model.Write(offset, length);
            return new SingleWrite(State.LastLsn + i, 1_000_000 + State.LastLsn, WriteKind.Write, offset, length, 1);
        }).ToArray();
        _ = PackedWrites.TryRead(PackedWrites.Encode(writes, [], []), out var packed);
        Append(new WritesRecorded(packed!));
    }

    private void Lose()
    {
        if (_random.Next(4) == 0)
        {
            Decide(new VolumeCommand.LoseTracking(ToLsn: null, "a test"));
            Model.Write(0, Model.Size);
            return;
        }

        var offset = _random.NextInt64(Model.Size);
        Decide(new VolumeCommand.RecoverWrites([new(offset, 30_000)]));
        Model.Write(offset, Math.Min(30_000, Model.Size - offset));
    }

    private void Command()
    {
        var name = $"b{_random.Next(3)}";
        if (!Model.Bitmaps.TryGetValue(name, out var naive))
        {
            Bring(name);
            Decide(new VolumeCommand.SetRetention(name, 4));
            return;
        }

        if (_random.Next(8) == 0 && State.Backups.Count == 0)
        {
            var size = RandomSize();
            Decide(new VolumeCommand.ResizeVolume(size));
            Model.Resize(size);
            return;
        }

        if (naive.Successor is not null)
            EndJob(name, naive);
        else
            Change(name, naive);
    }

    private void Bring(string name)
    {
        var granularity = 512L << _random.Next(8);
        var recording = _random.Next(3) > 0;
        if (_random.Next(4) > 0)
        {
            Decide(new VolumeCommand.AddBitmap(name, granularity, !recording, Persistent: true));
            Model.Add(name, granularity, recording);
            return;
        }

        Model.Add(name, granularity, recording);
        RandomBits(Model.Bitmaps[name].Bits);
        Decide(new VolumeCommand.ImportBitmap(
            name, granularity, new(!recording, Persistent: true), Encode(Model.Bitmaps[name].Bits, granularity), "a test"));
    }

    private void Change(string name, NaiveBitmap naive)
    {
        switch (_random.Next(20))
        {
            case 0:
                Decide(new VolumeCommand.ClearBitmap(name));
                Array.Clear(naive.Bits);
                break;
            case 1 or 18:
                Decide(new VolumeCommand.DisableBitmap(name));
                naive.Recording = false;
                break;
            case 2 or 19:
                Decide(new VolumeCommand.EnableBitmap(name));
                naive.Recording = true;
                break;
            case 3 when _random.Next(3) == 0:
                Decide(new VolumeCommand.RemoveBitmap(name));
                Model.Bitmaps.Remove(name);
                break;
            case >= 4 and < 9:
                Merge(name);
                break;
            case >= 9 and < 13:
                Bank(name, naive);
                break;
            case 13 or 14 when naive.Slices.Count > 0:
                var slice = naive.Slices.Keys.ElementAt(_random.Next(naive.Slices.Count));
                Decide(new VolumeCommand.DeleteSlice(name, slice));
                Model.DeleteSlice(name, slice);
                break;
            case 15 or 16:
                StartJob(name, naive);
                break;
            case 17:
                Retain(name, naive);
                break;
        }
    }

    private void Merge(string name)
    {
        var free = Model.Bitmaps.Where(b => b.Value.Successor is null).Select(b => b.Key).ToArray();
        var sources = Enumerable.Range(0, _random.Next(1, 3)).Select(_ => free[_random.Next(free.Length)]).ToArray();
        Decide(new VolumeCommand.MergeBitmap(name, [.. sources.Select(s => new BitmapRef(s))]));
        Model.Merge(name, sources.Select(s => (Model.Bitmaps[s].Bits, Model.Bitmaps[s].Granularity)));
    }

    private void Bank(string name, NaiveBitmap naive)
    {
        var bitmap = State.Bitmap(name)!;
        if (bitmap.Retention == 0)
            return;
        if (naive.Slices.Count == bitmap.Retention)
            naive.Slices.Remove(naive.Slices.Keys.Min());
        Decide(new VolumeCommand.BankSlice(name, ForceCycle: true));
        Model.Bank(name);
    }

    private void Retain(string name, NaiveBitmap naive)
    {
        var keep = _random.Next(5);
        Decide(new VolumeCommand.SetRetention(name, keep, _random.Next(2) == 0 ? "cycle" : "fail", ForceCycle: true));
        while (naive.Slices.Count > keep)
            naive.Slices.Remove(naive.Slices.Keys.Min());
    }

    private void StartJob(string name, NaiveBitmap naive)
    {
        var (sync, mode) = _random.Next(5) switch
        {
            0 => ("incremental", "on-success"),
            1 => ("bitmap", "always"),
            2 => ("bitmap", "never"),
            3 => ("full", "on-success"),
            _ => ("differential", (string?)null),
        };
        Decide(new VolumeCommand.StartBackup($"job-{name}", sync, [name], mode, ForceCycle: true));
        Model.StartJob(name, mode ?? "never");
        Assert.Equal(mode ?? "never", State.Backup($"job-{name}")!.Mode);
        Assert.Same(naive, Model.Bitmaps[name]);
    }

    private void EndJob(string name, NaiveBitmap naive)
    {
        var job = State.Backup($"job-{name}")!;
        var success = _random.Next(2) == 0;
        bool[]? left = null;
        if (!success && _random.Next(2) == 0)
        {
            left = new bool[naive.Bits.Length];
            RandomBits(left);
        }

        var rest = left is null ? null : new RestBits(naive.Granularity, Encode(left, naive.Granularity));
        Decide(new VolumeCommand.EndBackup(job.Job, success ? new BackupOutcome.Succeeded()
            : _random.Next(2) == 0 ? new BackupOutcome.Failed("a test", rest) : new BackupOutcome.Cancelled(rest)));
        var banks = job.Sync == "incremental" && State.Bitmap(name)!.Retention > 0;
        if (banks && success && naive.Slices.Count == State.Bitmap(name)!.Retention)
            naive.Slices.Remove(naive.Slices.Keys.Min());
        Model.EndJob(name, success, left, banks);
        if (success && job.Sync == "full")
        {
            naive.Slices.Clear();
            naive.Next = 0;
        }
    }

    private void Decide(VolumeCommand command)
    {
        var decision = VolumeDecider.Decide([command], State, State.LastLsn, _time);
        Assert.Null(decision.Refusal);
        Assert.Equal(Shown(decision.Events), Shown(VolumeDecider.Decide([command], State, State.LastLsn, _time).Events));
        foreach (var happened in decision.Events)
            Append(happened);
        Assert.Equal(JsonSerializer.Serialize(decision.After), JsonSerializer.Serialize(State));
    }

    private void Append(IVolumeEvent happened)
    {
        _events.Add(happened);
        State = State.Apply(happened, _events.Count, _time);
        Replay.Apply(happened, _events.Count, _time);
    }

    private byte[] Encode(bool[] bits, long granularity)
    {
        using var map = new NativeBitmap(Model.Size, Granularity.FromBytes(granularity));
        for (var block = 0; block < bits.Length; block++)
            if (bits[block])
                map.MarkBlocks(new(block, 1));
        return BitmapCodec.Encode(map);
    }

    private void RandomBits(bool[] bits)
    {
        for (var i = 0; i < bits.Length; i++)
            bits[i] = _random.Next(5) == 0;
    }

    private long RandomSize() => _random.Next(1, 1200) * 512L;

    private string Last() => $"{_events.Count} events, the last one {_events[^1]}";

    private static string Shown(IEnumerable<IVolumeEvent> events) =>
        string.Join('\n', events.Select(e => JsonSerializer.Serialize(e, e.GetType())));

    private static string Dirty(bool[] bits) => string.Join(' ', Enumerable.Range(0, bits.Length).Where(i => bits[i]));

    private static string Dirty(NativeBitmap map) =>
        string.Join(' ', Enumerable.Range(0, (int)map.BlockCount).Where(i => map.IsDirty(i)));
}
