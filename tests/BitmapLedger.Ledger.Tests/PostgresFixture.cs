using BitmapLedger.Hosting;
using BitmapLedger.Testing;
using Npgsql;
using Testcontainers.PostgreSql;

[assembly: AssemblyFixture(typeof(BitmapLedger.Ledger.Tests.PostgresFixture))]

namespace BitmapLedger.Ledger.Tests;

/// <summary>
/// A real PostgreSQL: the one that BITMAPLEDGER_TEST_DATABASE names, a container where BITMAPLEDGER_TEST_CONTAINERS
/// is set, else a cluster made by the code that <c>bml serve</c> makes its own with.
/// </summary>
public sealed class PostgresFixture : IAsyncLifetime
{
    private readonly ScratchDirectory _scratch = new();
    private PostgreSqlContainer? _container;
    private EmbeddedCluster? _cluster;
    private string _server = "";
    private int _databases;

    public async ValueTask InitializeAsync()
    {
        if (Environment.GetEnvironmentVariable("BITMAPLEDGER_TEST_DATABASE") is { Length: > 0 } given)
        {
            _server = given;
        }
        else if (Environment.GetEnvironmentVariable("BITMAPLEDGER_TEST_CONTAINERS") is { Length: > 0 })
        {
            // Its builder turns off what makes a server durable, and the ledger rightly refuses such a server.
            _container = new PostgreSqlBuilder("postgres:17-alpine")
                .WithCommand("-c", "fsync=on", "-c", "full_page_writes=on", "-c", "synchronous_commit=on").Build();
            await _container.StartAsync();
            _server = _container.GetConnectionString();
        }
        else
        {
            var directory = DataDirectory.At(_scratch["d"]);
            directory.Create();
            _cluster = new(directory, PostgresPrograms.Find());
            await _cluster.StartAsync(CancellationToken.None);
            _server = _cluster.ConnectionString;
        }
    }

    /// <summary>An empty database of its own.</summary>
    public async Task<string> DatabaseAsync()
    {
        var name = $"bml_{Environment.ProcessId}_{Interlocked.Increment(ref _databases)}";
        await using var source = NpgsqlDataSource.Create(_server);
        await using var create = source.CreateCommand($"create database {name}");
        await create.ExecuteNonQueryAsync();
        return new NpgsqlConnectionStringBuilder(_server) { Database = name }.ConnectionString;
    }

    public async ValueTask DisposeAsync()
    {
        NpgsqlConnection.ClearAllPools();
        if (_cluster is not null)
            await _cluster.StopAsync(CancellationToken.None);
        if (_container is not null)
            await _container.DisposeAsync();
        _scratch.Dispose();
    }
}
