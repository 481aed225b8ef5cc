using System.Globalization;
using BitmapLedger.Hosting;

namespace BitmapLedger.Testing;

/// <summary>
/// A PostgreSQL that no <c>bml serve</c> supervises: what a user names with <c>--database</c>, and what a test stops,
/// freezes and starts.
/// </summary>
public sealed class SeparateCluster : IAsyncDisposable
{
    private readonly DataDirectory _directory;
    private readonly EmbeddedCluster _cluster;

    private SeparateCluster(DataDirectory directory)
    {
        _directory = directory;
        _cluster = new(directory, PostgresPrograms.Find());
    }

    /// <summary>What <c>--database</c> is told; the superuser.</summary>
    public string ConnectionString => _cluster.ConnectionString;

    /// <summary>Directory of its socket.</summary>
    public string Socket => Path.Combine(_directory.Postgres, "run");

    /// <summary>The cluster's own directory.</summary>
    public string Data => Path.Combine(_directory.Postgres, "data");

    /// <summary>Makes one in an empty or missing directory and starts it.</summary>
    public static async Task<SeparateCluster> StartAsync(string path)
    {
        var directory = DataDirectory.At(path);
        directory.Create();
        var cluster = new SeparateCluster(directory);
        await cluster.StartAsync();
        return cluster;
    }

    /// <summary>Starts it again; one that runs already stays as it is.</summary>
    public Task StartAsync() => _cluster.StartAsync(CancellationToken.None);

    /// <summary>kill -9 of all its processes: to clients it is away at once.</summary>
    public async Task KillAsync()
    {
        foreach (var id in Processes())
            Posix.Signal(id, Posix.SigKill);
        while (Processes().Any(Posix.IsAlive))
            await Task.Delay(5);
    }

    /// <summary>All its processes stop where they are: it accepts connections and says nothing.</summary>
    public void Freeze() => Signal(Posix.SigStop);

    /// <summary>They go on.</summary>
    public void Thaw() => Signal(Posix.SigCont);

    /// <summary>Runs SQL as the superuser.</summary>
    public string Sql(string sql) =>
        Tool.Run("psql", "-h", Socket, "-U", "postgres", "-d", "bitmapledger", "-v", "ON_ERROR_STOP=1", "-Atc", sql).Expect().Output.Trim();

    public async ValueTask DisposeAsync()
    {
        if (Directory.Exists(Data))
            await KillAsync();
    }

    private void Signal(int signal)
    {
        foreach (var id in Processes())
            Posix.Signal(id, signal);
    }

    /// <summary>The postmaster, and whoever has it as parent.</summary>
    private List<int> Processes()
    {
        if (_cluster.ProcessId is not { } postmaster)
            return [];
        List<int> all = [postmaster];
        foreach (var directory in Directory.EnumerateDirectories("/proc"))
            if (int.TryParse(Path.GetFileName(directory), CultureInfo.InvariantCulture, out var id) && Parent(id) == postmaster)
                all.Add(id);
        return all;
    }

    private static int Parent(int id)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{id}/stat");
            return int.Parse(stat[(stat.LastIndexOf(')') + 4)..].Split(' ')[0], CultureInfo.InvariantCulture);
        }
        catch (Exception gone) when (gone is IOException or FormatException)
        {
            return 0;
        }
    }
}
