using System.Diagnostics;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Backends;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.WritePath.Control;

/// <summary>
/// The exports of <c>block-export-add</c> and the listener they have to themselves. They are kept here and nowhere else, so
/// that they outlive a Server and end with the Agent, as those of QEMU end with its process. Changed by one thread at a
/// time.
/// </summary>
/// <param name="listener">Where clients connect.</param>
internal sealed class BlockExports(IExportListener listener) : IExportSource
{
    /// <summary>As many as may be asked again: a reply is missed once in a while.</summary>
    private const int MarksMax = 64;

    private readonly Queue<CommandMark> _marks = [];
    private volatile IReadOnlyList<ChosenExport> _exports = [];
    private string? _uri;

    /// <inheritdoc />
    public bool HasDefault => false;

    /// <inheritdoc />
    public IReadOnlyList<IExport> List() => _exports;

    public ExportList Show() => new(_uri, [.. _exports.Select(e => e.Asked)]);

    public ExportList ShowWithMarks() => Show() with { Marks = [.. _marks] };

    /// <param name="command">What is wanted; remembered if it has an id, and is not refused.</param>
    /// <param name="find">Finds an open volume.</param>
    public ControlReply CarryOut(ExportCommand command, Func<Guid, TrackedVolume> find)
    {
        ControlReply reply = command switch
        {
            StartNbdServer start => Start(start),
            StopNbdServer => Stop(),
            AddExport add => Add(add.Export, find),
            RemoveExport remove => Remove(remove),
            _ => throw new UnreachableException(),
        };
        if (command.Mark is not { } mark)
            return reply;
        _marks.Enqueue(mark);
        if (_marks.Count > MarksMax)
            _ = _marks.Dequeue();
        return reply;
    }

    private Done Start(StartNbdServer request)
    {
        if (_uri is not null)
            throw new BackendException("exists", "NBD server already running");
        if (request.Socket is null == request.Host is null)
            throw new BackendException("bad-argument", "an NBD server listens either on a socket or on a host");
        _uri = listener.Listen(new(request.Host, request.Port, request.Socket, Export: ""), request.ConnectionsMax, this).ToString();
        return new();
    }

    private ExportList Stop()
    {
        if (_uri is null)
            throw new BackendException("not-found", "NBD server not running");
        var ended = Show();
        EndWhere(_ => true, listener.Cut);
        listener.Unlisten();
        _uri = null;
        return ended;
    }

    private Done Add(BlockExport asked, Func<Guid, TrackedVolume> find)
    {
        if (_exports.Any(e => e.Asked.Id == asked.Id))
            throw new BackendException("exists", $"Block export id '{asked.Id}' is already in use");
        if (_uri is null)
            throw new BackendException("failed", "NBD server not running");
        if (_exports.Any(e => e.Name == asked.Name))
            throw new BackendException("exists", $"NBD server already has export named '{asked.Name}'");
        var volume = find(asked.Volume);
        if (asked.Writable && volume.Spec.ReadOnly)
            throw new BackendException("failed", "Cannot export read-only node as writable");
        var bitmaps = asked.Bitmaps.Select(b => (Volume: find(b.Volume), b.Name)).ToList();
        foreach (var (other, name) in bitmaps)
        {
            if (other.Spec.Size != volume.Spec.Size)
                throw new BackendException(
                    "bad-argument",
                    $"Bitmap '{name}' is of volume '{other.Spec.Name}', whose size is not that of volume '{volume.Spec.Name}'");
            if (!other.Bitmaps.Names.Contains(name))
                throw new BackendException("not-found", $"Bitmap '{name}' is not found");
        }

        _exports = [.. _exports, new(asked, volume, bitmaps)];
        return new();
    }

    private Done Remove(RemoveExport request)
    {
        if (_exports.FirstOrDefault(e => e.Asked.Id == request.Id) is not { } export)
            throw new BackendException("not-found", $"Export '{request.Id}' is not found");
        if (!request.Hard && listener.IsUsed(export))
            throw new BackendException("busy", $"export '{request.Id}' still in use");
        EndWhere(e => e == export, listener.Cut);
        return new();
    }

    /// <summary>Ends what offers a volume or shows a bitmap of it: it is about to be closed, so nobody may use it any more.</summary>
    public void EndOf(Guid volume) =>
        EndWhere(e => e.Asked.Volume == volume || e.Asked.Bitmaps.Any(b => b.Volume == volume), listener.Drop);

    private void EndWhere(Func<ChosenExport, bool> chosen, Action<ChosenExport> end)
    {
        var ending = _exports.Where(chosen).ToList();
        _exports = [.. _exports.Except(ending)];
        foreach (var export in ending)
        {
            export.End();
            end(export);
        }
    }
}
