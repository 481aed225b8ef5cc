using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>Tests on a PostgreSQL of the user's own, one for each.</summary>
public abstract class OnSeparateCluster : IAsyncLifetime
{
    private readonly ScratchDirectory _scratch = new();
    private SeparateCluster? _cluster;

    /// <summary>It runs when a test begins.</summary>
    protected SeparateCluster Cluster => _cluster!;

    public virtual async ValueTask InitializeAsync() => _cluster = await SeparateCluster.StartAsync(Scratch("pg"));

    public async ValueTask DisposeAsync()
    {
        if (_cluster is not null)
            await _cluster.DisposeAsync();
        _scratch.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>A path in a directory that goes with the test.</summary>
    protected string Scratch(string name) => _scratch[name];
}
