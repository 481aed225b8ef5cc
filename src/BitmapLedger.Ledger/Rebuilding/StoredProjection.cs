using BitmapLedger.Ledger.Storing;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>How far the rows of one volume are.</summary>
/// <param name="VolumeId">The volume.</param>
/// <param name="At">The last event in them; 0 when there are none.</param>
/// <param name="Through">The last event that can be.</param>
internal readonly record struct VolumeProgress(Guid VolumeId, long At, long Through);

/// <summary>A projection whose versions can stand side by side. What a version holds depends on the streams alone, so that
/// one that was built is the same, byte for byte, as one that grew.</summary>
/// <param name="source">Connections.</param>
internal abstract class StoredProjection(NpgsqlDataSource source)
{
    /// <summary>Its name.</summary>
    public abstract string Name { get; }

    /// <summary>Where its rows are; each has a column <c>version</c>.</summary>
    public abstract IReadOnlyList<Table> Tables { get; }

    /// <summary>An expression for the last event in the rows of volume <c>s.id</c> of version <c>$1</c>, or null.</summary>
    protected abstract string LastEvent { get; }

    /// <summary>An expression for the last event of a stream <c>s</c> that can be in the rows.</summary>
    protected abstract string Reachable { get; }

    /// <summary>Brings the rows of one volume up to an event, in transactions of its own: what ends in the middle goes on from
    /// the last of them.</summary>
    public abstract Task BuildAsync(VolumeProgress volume, int version, CancellationToken cancellation);

    /// <summary>The volumes whose rows of a version are behind their streams.</summary>
    public async Task<IReadOnlyList<VolumeProgress>> BehindAsync(int version, CancellationToken cancellation)
    {
        await using var command = source.CreateCommand(
            $"""
            select * from (
                select s.id, coalesce({LastEvent}, 0) as at, {Reachable} as through
                from {LedgerSchema.Name}.mt_streams s where not s.is_archived) p
            where at < through order by id
            """);
        command.Parameters.Add(new() { Value = version });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        List<VolumeProgress> behind = [];
        while (await row.ReadAsync(cancellation))
            behind.Add(new(row.GetGuid(0), row.GetInt64(1), row.GetInt64(2)));
        return behind;
    }
}
