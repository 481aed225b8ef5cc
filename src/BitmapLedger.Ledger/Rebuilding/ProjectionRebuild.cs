using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Measuring;
using Marten;
using Npgsql;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>
/// Builds a projection anew beside the one that answers are made of. It reads the streams itself, volume by volume, a
/// multiple as fast as the daemon hands events out; the daemon keeps the old version up to date meanwhile, and goes on with the
/// new one from where it is. One rebuild of a projection at a time.
/// </summary>
/// <param name="store">The store.</param>
/// <param name="source">Connections.</param>
/// <param name="clock">Says when to put down what was built.</param>
public sealed class ProjectionRebuild(IDocumentStore store, NpgsqlDataSource source, TimeProvider clock)
{
    /// <summary>So few events are left to the switch, which holds up the daemon.</summary>
    private const long SwitchEventsMax = 256;

    private readonly StoredProjection[] _projections = Projections(store, source, clock);
    private readonly ProjectionVersions _versions = new(source);

    /// <summary>Names of the projections that can be rebuilt.</summary>
    public IReadOnlyList<string> Names => [.. _projections.Select(p => p.Name)];

    /// <summary>The versions of a projection.</summary>
    public Task<ProjectionVersion> VersionsAsync(string name, CancellationToken cancellation) => _versions.ReadAsync(name, cancellation);

    /// <summary>How many events the version that is being built has not got yet.</summary>
    /// <param name="name">Name of the projection.</param>
    /// <param name="version">Number of the version.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task<long> BehindAsync(string name, int version, CancellationToken cancellation) =>
        (await Named(name).BehindAsync(version, cancellation)).Sum(v => v.Through - v.At);

    /// <summary>Asks for a rebuild; one that has begun goes on.</summary>
    /// <returns>Number of the version that will count.</returns>
    public Task<int> BeginAsync(string name, CancellationToken cancellation) => _versions.BeginAsync(name, cancellation);

    /// <summary>Carries out the rebuild that was asked for, if one was; goes on where an earlier attempt ended.</summary>
    public async Task RunAsync(string name, CancellationToken cancellation)
    {
        var projection = Named(name);
        if ((await _versions.ReadAsync(name, cancellation)).Building is not { } version)
            return;
        using var span = LedgerTelemetry.Source.StartActivity($"rebuild {name}");
        await _versions.DropOthersAsync(name, projection.Tables, cancellation);
        Dictionary<Guid, long> built = [];
        while (await RoundAsync(projection, version, built, cancellation) > SwitchEventsMax)
        {
        }

        await _versions.SwitchAsync(name, () => RoundAsync(projection, version, built, cancellation), cancellation);
        await _versions.DropOthersAsync(name, projection.Tables, cancellation);
    }

    /// <summary>Gives up a rebuild that cannot be carried out.</summary>
    public async Task AbandonAsync(string name, CancellationToken cancellation)
    {
        await _versions.AbandonAsync(name, cancellation);
        await _versions.DropOthersAsync(name, Named(name).Tables, cancellation);
    }

    /// <summary>Brings every volume up to now.</summary>
    /// <param name="projection">Of which projection.</param>
    /// <param name="version">Which version.</param>
    /// <param name="built">How far each volume was brought: rows do not say it where no row stands for the last events any more,
    /// since what they held is forgotten.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>How many events were taken in.</returns>
    private static async Task<long> RoundAsync(
        StoredProjection projection, int version, Dictionary<Guid, long> built, CancellationToken cancellation)
    {
        var events = 0L;
        foreach (var volume in await projection.BehindAsync(version, cancellation))
        {
            var left = volume with { At = Math.Max(volume.At, built.GetValueOrDefault(volume.VolumeId)) };
            if (left.At >= left.Through)
                continue;
            await projection.BuildAsync(left, version, cancellation);
            built[left.VolumeId] = left.Through;
            events += left.Through - left.At;
        }

        return events;
    }

    private static StoredProjection[] Projections(IDocumentStore store, NpgsqlDataSource source, TimeProvider clock)
    {
        var index = new HistoryIndex(source, store.Options.Serializer());
        return [new StoredBits(store, source, index, clock), new StoredNodes(store, source, index)];
    }

    private StoredProjection Named(string name) => _projections.Single(p => p.Name == name);
}
