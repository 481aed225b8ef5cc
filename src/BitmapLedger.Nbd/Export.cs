namespace BitmapLedger.Nbd;

/// <summary>One extent of a meta context, from where the one before ended.</summary>
/// <param name="Length">Bytes, above 0.</param>
/// <param name="Flags">Status bits of the context.</param>
public readonly record struct StatusExtent(long Length, uint Flags);

/// <summary>Something that BLOCK_STATUS can be asked about.</summary>
public interface IMetaContext
{
    /// <summary>Name as negotiated, namespace included.</summary>
    string Name { get; }

    /// <summary>Extents from <paramref name="offset"/> on, merged, at most <paramref name="extentsMax"/> of
    /// them.</summary>
    /// <param name="offset">First byte asked about.</param>
    /// <param name="length">Bytes asked about; the extents never go past them.</param>
    /// <param name="extentsMax">1 or more.</param>
    /// <param name="target">Receives at least one extent.</param>
    /// <returns>False when the context is not there any more.</returns>
    bool TryDescribe(long offset, long length, int extentsMax, List<StatusExtent> target);
}

/// <summary>What the handshake needs to know of an export.</summary>
public interface IExport
{
    /// <summary>Its name.</summary>
    string Name { get; }

    /// <summary>What clients are told of it beside its name, or null.</summary>
    string? Description { get; }

    /// <summary>Its size in bytes.</summary>
    long Size { get; }

    /// <summary>Whether writes are refused.</summary>
    bool ReadOnly { get; }

    /// <summary>The contexts that can be negotiated now, in the server's order.</summary>
    IReadOnlyList<IMetaContext> Contexts();
}

/// <summary>Contexts that are there only for the client that asks for them by name. One thread.</summary>
public interface IContextMaker
{
    /// <summary>Makes those of some names that can be made; the others are passed over.</summary>
    /// <param name="export">What they describe.</param>
    /// <param name="queries">Everything that the client asked for.</param>
    /// <returns>Each is disposed of with the handshake, or when the client chooses others, if it wants to be.</returns>
    IReadOnlyList<IMetaContext> Make(IExport export, IReadOnlyList<string> queries);

    /// <summary>Names of those that a client may like to ask for.</summary>
    /// <param name="export">What they describe.</param>
    /// <param name="queries">As in <see cref="MetaQuery"/>.</param>
    IReadOnlyList<string> List(IExport export, IReadOnlyList<string> queries);
}

/// <summary>The exports of a server.</summary>
public interface IExportSource
{
    /// <summary>All of them, in the order in which LIST names them.</summary>
    IReadOnlyList<IExport> List();

    /// <summary>Whether the empty name means the only one there is, as well as one that is called so.</summary>
    bool HasDefault { get; }
}

/// <summary>Which export a name means.</summary>
public static class ExportLookup
{
    /// <summary>The export of that name; the empty name may mean the only one there is.</summary>
    public static IExport? Find(this IExportSource source, string name)
    {
        var all = source.List();
        return name.Length == 0 && all.Count == 1 && source.HasDefault
            ? all[0]
            : all.FirstOrDefault(e => string.Equals(e.Name, name, StringComparison.Ordinal));
    }

    /// <summary>What an export says of itself.</summary>
    public static NbdTransmissionFlags Flags(this IExport export, bool structuredReplies)
    {
        var flags = NbdTransmissionFlags.HasFlags | NbdTransmissionFlags.SendFlush | NbdTransmissionFlags.SendFua
            | NbdTransmissionFlags.CanMultiConnect | NbdTransmissionFlags.SendCache;
        flags |= export.ReadOnly
            ? NbdTransmissionFlags.ReadOnly
            : NbdTransmissionFlags.SendTrim | NbdTransmissionFlags.SendWriteZeroes | NbdTransmissionFlags.SendFastZero;
        return structuredReplies ? flags | NbdTransmissionFlags.SendDontFragment : flags;
    }
}
