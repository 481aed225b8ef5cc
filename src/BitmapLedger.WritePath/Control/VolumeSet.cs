using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Journal;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Backends;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.WritePath.Control;

/// <summary>The volumes of an Agent, and what the Server may do to them. Requests come one at a time.</summary>
public sealed class VolumeSet : IExportSource, IDisposable
{
    private readonly string _dataDirectory;
    private static readonly TimeSpan _tidyPause = TimeSpan.FromSeconds(1);
    private readonly Machine _machine;
    private readonly VolumeFile _file;
    private readonly Lock _lock = new();
    private readonly Dictionary<Guid, TrackedVolume> _volumes = [];
    private readonly Dictionary<Guid, ClosedVolume> _closed = [];
    private readonly Guid _run = Guid.CreateVersion7();
    private readonly ManualResetEventSlim _ended = new();
    private readonly Thread _tidying;
    private volatile IReadOnlyList<VolumeExport> _exports = [];
    private BlockExports? _blockExports;

    /// <summary>No volume is open yet; <see cref="Recover"/> opens those of the last run.</summary>
    /// <param name="dataDirectory">The data directory.</param>
    /// <param name="machine">Clock and boot of the machine.</param>
    public VolumeSet(string dataDirectory, Machine machine)
    {
        _dataDirectory = dataDirectory;
        _machine = machine;
        _file = new(Path.Combine(dataDirectory, "agent", "volumes.json"));
        Bits = new(Path.Combine(dataDirectory, "run", "bits"));
        _tidying = new Thread(Tidy) { IsBackground = true, Name = "tidy" };
        _tidying.Start();
    }

    /// <summary>Called with the id of a volume whose connections must end, and returns when they have.</summary>
    public Action<Guid> DropConnections { get; set; } = _ => { };

    /// <summary>Where clients of block exports connect; those are refused while there is none.</summary>
    public IExportListener? ExportListener
    {
        set => _blockExports = value is null ? null : new(value);
    }

    /// <summary>Bits on their way from and to the Server.</summary>
    public BitsFiles Bits { get; }

    /// <inheritdoc />
    public bool HasDefault => true;

    /// <summary>NBD URIs that the Agent listens on.</summary>
    public IReadOnlyList<string> Listeners { get; set; } = [];

    /// <summary>Quota of every journal that <see cref="Recover"/> opens; null leaves each its own.</summary>
    public long? JournalQuota { get; init; }

    /// <summary>Opens and offers what was offered before this process started.</summary>
    /// <param name="complain">Called for each volume that cannot be opened; the others go on.</param>
    /// <exception cref="FormatVersionException">A later program wrote down what was offered.</exception>
    public void Recover(Action<string> complain)
    {
        Bits.DropAll();
        foreach (var spec in Remembered(complain))
        {
            try
            {
                Open(JournalQuota is { } bytes ? spec with { JournalQuota = bytes } : spec).Published = true;
            }
            catch (BitmapLedgerException failure)
            {
                complain($"volume '{spec.Name}' stays closed: {failure.Message}");
            }
        }

        _exports = Published();
    }

    /// <summary>What was offered. Where that is damaged the Server, which knows it as well, has it offered again.</summary>
    private IReadOnlyList<VolumeSpec> Remembered(Action<string> complain)
    {
        try
        {
            return _file.Read();
        }
        catch (CorruptionException damage)
        {
            complain($"{damage.Message}; nothing is offered before the server says what");
            return [];
        }
    }

    /// <summary>The volumes that are open now.</summary>
    internal IReadOnlyList<TrackedVolume> Opened
    {
        get
        {
            lock (_lock)
                return [.. _volumes.Values];
        }
    }

    /// <inheritdoc />
    public IReadOnlyList<IExport> List() => _exports;

    /// <summary>Answers a request of the Server.</summary>
    public ControlReply Handle(ControlRequest request)
    {
        lock (_lock)
        {
            try
            {
                return request switch
                {
                    Hello { Protocol: not ControlFrame.ProtocolVersion } hello => new Failed(
                        "unsupported", $"control protocol {hello.Protocol}; this agent speaks {ControlFrame.ProtocolVersion}"),
                    Hello => Welcome(ids: null),
                    Status status => Welcome(status.Ids),
                    OpenVolume open => Done(() => Open(open.Volume)),
                    PublishVolume publish => Done(() => Publish(publish.Id)),
                    CloseVolume close => Done(() => Close(close)),
                    Rotate rotate => RotateAll(rotate),
                    Settle settle => SettleOne(settle),
                    Digest digest => new Digests(Find(digest.Id).Bitmaps.Digest(digest.Fence)),
                    ReadBits bits => WriteBits(bits),
                    DigestLive live => LookAt(live),
                    MakeDurable durable => MakeOneDurable(Find(durable.Id)),
                    AcknowledgeLoss known => Done(() => Find(known.Id).Journal.AcknowledgeLoss()),
                    SetJournalAside aside => Done(() => SetAside(aside)),
                    SetQuota quota => Done(() => SetQuotaOf(quota)),
                    Release release => Done(() => Find(release.Id).Journal.Release(release.Lsn)),
                    ListExports => _blockExports?.ShowWithMarks() ?? ShowExports(),
                    ExportCommand command => Exports().CarryOut(command, Find),
                    _ => new Failed("unsupported", $"unknown request {request.GetType().Name}"),
                };
            }
            catch (BitmapLedgerException refusal)
            {
                return new Failed(refusal.Code, refusal.Message);
            }
            catch (IOException failure)
            {
                return new Failed("failed", failure.Message);
            }
        }
    }

    /// <summary>Nobody waits for space in a journal from now on: connections are about to end.</summary>
    public void StopReserving()
    {
        lock (_lock)
        {
            foreach (var volume in _volumes.Values)
                volume.Journal.StopReserving();
        }
    }

    /// <summary>Closes every volume in order; connections have ended.</summary>
    public void Dispose()
    {
        _ended.Set();
        _tidying.Join();
        lock (_lock)
        {
            _exports = [];
            foreach (var volume in _volumes.Values)
                volume.Dispose();
            _volumes.Clear();
        }

        _ended.Dispose();
    }

    /// <summary>Once a second, outside the lock: a volume may have to wait for its disk.</summary>
    private void Tidy()
    {
        while (!_ended.Wait(_tidyPause))
        {
            TrackedVolume[] volumes;
            lock (_lock)
                volumes = [.. _volumes.Values];
            foreach (var volume in volumes)
                volume.Tidy();
        }
    }

    private static ControlReply MakeOneDurable(TrackedVolume volume) => volume.Journal.TryMakeDurable()
        ? new Durable(volume.Journal.DurableLsn)
        : new Failed("failed", $"the disk refused to make the journal of volume '{volume.Spec.Name}' durable");

    private static Done Done(Action act)
    {
        act();
        return new();
    }

    private static Done Done(Func<TrackedVolume> open)
    {
        _ = open();
        return new();
    }

    private Welcome Welcome(IReadOnlyList<Guid>? ids) => new(
        ControlFrame.ProtocolVersion, Environment.ProcessId, _run, Listeners,
        [.. (ids is null ? _volumes.Values : OpenOf(ids)).Select(v => v.Status())],
        [.. _closed.Values], ShowExports());

    private ExportList ShowExports() => _blockExports?.Show() ?? new(Listener: null, []);

    private TrackedVolume Find(Guid id)
    {
        if (_volumes.TryGetValue(id, out var volume))
            return volume;
        throw _closed.TryGetValue(id, out var closed)
            ? new BackendException(closed.Code, closed.Why)
            : new BackendException("not-found", $"volume {id} is not open at the agent");
    }

    private IEnumerable<TrackedVolume> OpenOf(IReadOnlyList<Guid> ids) => ids.Where(_volumes.ContainsKey).Select(i => _volumes[i]);

    private BlockExports Exports() =>
        _blockExports ?? throw new BackendException("unsupported", "this agent has nowhere to offer block exports");

    private IReadOnlyList<VolumeExport> Published() =>
        [.. _volumes.Values.Where(
            v => v.Published).OrderBy(v => v.Spec.Name, StringComparer.Ordinal).Select(v => new VolumeExport(v))];

    private TrackedVolume Open(VolumeSpec spec)
    {
        if (_volumes.TryGetValue(spec.Id, out var open))
            return open;
        try
        {
            JournalDirectories.Finish(PosixDisk.Instance, JournalDirectory(spec.Id));
            _volumes[spec.Id] = TrackedVolume.Open(spec, JournalDirectory(spec.Id), _machine);
            _closed.Remove(spec.Id);
            return _volumes[spec.Id];
        }
        catch (BitmapLedgerException failure)
        {
            var wayOut = failure is CorruptionException ? $"; bml repair {spec.Name} goes on behind the damage" : "";
            _closed[spec.Id] = new(spec.Id, failure.Code, $"volume '{spec.Name}': {failure.Message}{wayOut}");
            throw;
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            _closed[spec.Id] = new(spec.Id, "failed", $"volume '{spec.Name}': its disk refuses: {refusal.Message}");
            throw new BackendException("failed", refusal.Message);
        }
    }

    private void SetAside(SetJournalAside request)
    {
        if (_volumes.TryGetValue(request.Id, out var open))
            throw new BackendException("busy", $"volume '{open.Spec.Name}' is open; close it first");
        if (!Directory.Exists(JournalDirectory(request.Id)))
            return;
        if (request.Volume is { ReadOnly: false } volume)
        {
            using var data = RawFileBackend.Open(volume.File, readOnly: false);
            if (data.Flush() != 0)
                throw new BackendException("failed", $"the disk refuses to make '{volume.File}' durable; when it is well, ask again");
        }

        JournalDirectories.SetAside(PosixDisk.Instance, JournalDirectory(request.Id), request.Id, request.Volume?.MinLsn ?? 0);
    }

    private void SetQuotaOf(SetQuota request)
    {
        Find(request.Id).SetQuota(request.Bytes);
        WriteFile();
    }

    private void WriteFile() => _file.Write(_volumes.Values.Where(v => v.Published).Select(v => v.Spec));

    private void Publish(Guid id)
    {
        Find(id).Published = true;
        WriteFile();
        _exports = Published();
    }

    private void Close(CloseVolume request)
    {
        _closed.Remove(request.Id);
        if (_volumes.Remove(request.Id, out var volume))
        {
            _exports = Published();
            WriteFile();
            volume.Journal.StopReserving();
            _blockExports?.EndOf(request.Id);
            DropConnections(request.Id);
            volume.Dispose();
        }

        if (request.DeleteJournal && Directory.Exists(JournalDirectory(request.Id)))
            Directory.Delete(JournalDirectory(request.Id), recursive: true);
    }

    private ControlReply RotateAll(Rotate request)
    {
        var volumes = request.Volumes.Select(
            v => (Volume: Find(v.Id), Next: Granularity.FromBytes(v.Granularity))).ToList();
        foreach (var (volume, _) in volumes)
            if (RefuseRotation(volume) is { } refusal)
                return refusal;
        if (request.Volumes is [{ Size: { } bytes }])
            volumes[0].Volume.MakeRoom(bytes);
        else if (request.Volumes.Any(v => v.Size is not null))
            return new Failed("bad-argument", "a volume that gets another size is cut alone");
        var closed = 0;
        try
        {
            for (; closed < volumes.Count; closed++)
            {
                if (!volumes[closed].Volume.TryCloseGate())
                    return new Failed(
                        "busy",
                        $"volume '{volumes[closed].Volume.Spec.Name}' has a write that does not end; try again");
            }

            if (request.Volumes is [{ Size: { } size }])
                volumes[0].Volume.Resize(size, WriteFile);
            return new Rotated([.. volumes.Select(v =>
            {
                var fence = v.Volume.Cut(v.Next);
                return new Fence(v.Volume.Spec.Id, fence.Number, fence.Lsn, fence.TimeMicroseconds);
            })]);
        }
        finally
        {
            foreach (var (volume, _) in volumes.Take(closed))
                volume.OpenGate();
        }
    }

    private static Failed? RefuseRotation(TrackedVolume volume)
    {
        if (volume.Journal.IsSuspect)
            return new(
                "failed",
                $"the disk refused to make volume '{volume.Spec.Name}' durable, so what it holds may revert; when the disk is well, start the agent again");
        return volume.Journal.Lost is not null || volume.Journal.Recovered.Count > 0
            ? new("busy", $"what happened to volume '{volume.Spec.Name}' while it was away is being recorded; try again")
            : null;
    }

    private ControlReply SettleOne(Settle request)
    {
        var volume = Find(request.Id);
        Dictionary<string, NativeBitmap> files = [];
        foreach (var source in request.Bitmaps.Where(b => b.File is not null))
            files[source.Name] = TakeBits(source.File!, volume);
        if (volume.Bitmaps.Settle(request.Fence, request.Bitmaps, files) is { } unknown)
            return new Failed("not-found", $"Dirty bitmap '{unknown}' not found");
        return new Done();
    }

    private LiveDigests LookAt(DigestLive request) => new(
        [.. OpenOf(request.Ids).Select(v => new LiveVolume(
            v.Spec.Id, v.Spec.Size, v.Bitmaps.DigestLive(request.Bitmap, request.WithSha256)))],
        _run, ShowExports());

    private ControlReply WriteBits(ReadBits request) =>
        Find(request.Id).Bitmaps.Encode(request.Fence, request.Name) is { } bits
            ? new BitsFile(Bits.Put(bits))
            : new Failed("not-found", $"Dirty bitmap '{request.Name}' not found");

    private NativeBitmap TakeBits(string name, TrackedVolume volume)
    {
        var bits = Bits.Take(name);
        if (bits.VolumeBytes == volume.Spec.Size)
            return bits;
        bits.Dispose();
        throw new BackendException(
            "bad-argument", $"bits of {bits.VolumeBytes} bytes do not fit volume '{volume.Spec.Name}'");
    }

    private string JournalDirectory(Guid id) => Path.Combine(_dataDirectory, "journal", id.ToString("D"));
}
