namespace BitmapLedger.Contracts.Control;

/// <summary>An export that QMP's <c>block-export-add</c> asked for. It ends with the Agent and stands in no file.</summary>
/// <param name="Id">Unique among them.</param>
/// <param name="Volume">Id of the volume that it offers.</param>
/// <param name="Name">Name that NBD clients ask for, unique among them; may be empty.</param>
/// <param name="Description">What NBD clients are told of it, or null.</param>
/// <param name="Writable">Whether clients may write.</param>
/// <param name="WriteThrough">Whether each write is flushed before it is answered.</param>
/// <param name="AllocationDepth">Whether <c>qemu:allocation-depth</c> is offered.</param>
/// <param name="Bitmaps">The bitmaps that it shows, and no others; they are in use until it goes.</param>
public sealed record BlockExport(
    string Id,
    Guid Volume,
    string Name,
    string? Description,
    bool Writable,
    bool WriteThrough,
    bool AllocationDepth,
    IReadOnlyList<ExportedBitmap> Bitmaps);

/// <summary>A bitmap that an export shows.</summary>
/// <param name="Volume">Id of its volume, which may be another one of the same size.</param>
/// <param name="Name">Its name.</param>
public sealed record ExportedBitmap(Guid Volume, string Name);

/// <summary>A command that an Agent has carried out and that had an id: whoever asks again is not refused for what it did.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Sha256">Digest of what was commanded, in hexadecimal.</param>
public sealed record CommandMark(string Id, string Sha256);

/// <summary>Changes the block exports.</summary>
public abstract record ExportCommand : ControlRequest
{
    /// <summary>What the Agent remembers of it once it is done; null when it has no id.</summary>
    public CommandMark? Mark { get; init; }
}

/// <summary>Listens at one more place, where block exports are offered and nothing else. One at a time.</summary>
/// <param name="Socket">Absolute path of a unix socket, or null.</param>
/// <param name="Host">Without a socket: a host of loopback.</param>
/// <param name="Port">Its port; 0 for any that is free.</param>
/// <param name="ConnectionsMax">Clients at a time, more wait; 0 for any number.</param>
public sealed record StartNbdServer(string? Socket, string? Host, int Port, long ConnectionsMax) : ExportCommand;

/// <summary>Ends that listener, its exports and their connections. Answered with the exports that ended.</summary>
public sealed record StopNbdServer : ExportCommand;

/// <summary>Offers a block export; its volumes are open.</summary>
/// <param name="Export">What.</param>
public sealed record AddExport(BlockExport Export) : ExportCommand;

/// <summary>Ends a block export.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Hard">Whether connected clients are cut off; else the export stays while there are any (<c>busy</c>).</param>
public sealed record RemoveExport(string Id, bool Hard) : ExportCommand;

/// <summary>Asks which block exports there are.</summary>
public sealed record ListExports : ControlRequest;

/// <summary>Answer to <see cref="ListExports"/> and <see cref="StopNbdServer"/>.</summary>
/// <param name="Listener">Where they are offered, or null.</param>
/// <param name="Exports">The oldest first.</param>
public sealed record ExportList(string? Listener, IReadOnlyList<BlockExport> Exports) : ControlReply
{
    /// <summary>The last commands with an id that changed them, in the answer to <see cref="ListExports"/>; else none.</summary>
    public IReadOnlyList<CommandMark> Marks { get; init; } = [];

    /// <summary>Whether one of them offers a volume.</summary>
    /// <param name="volume">Id of the volume.</param>
    public bool Offers(Guid volume) => Exports.Any(e => e.Volume == volume);

    /// <summary>Names of the bitmaps of a volume that they show.</summary>
    /// <param name="volume">Id of the volume.</param>
    public IEnumerable<string> Shown(Guid volume) =>
        Exports.SelectMany(e => e.Bitmaps).Where(b => b.Volume == volume).Select(b => b.Name).Distinct(StringComparer.Ordinal);
}
