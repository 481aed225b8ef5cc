using System.Globalization;
using System.Text.Json;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Hosting;

namespace BitmapLedger.Cli.Serving;

/// <summary>
/// Everything that <c>bml serve</c> runs: PostgreSQL, Agent, Server. They outlive a killed parent; what is alive is
/// adopted, except the Server, which keeps nothing that it could lose.
/// </summary>
internal sealed class Service(Session session, ServeOptions options)
{
    private static readonly TimeSpan _readyLimit = TimeSpan.FromSeconds(50);
    private static readonly TimeSpan _stopLimit = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan _look = TimeSpan.FromMilliseconds(20);

    /// <summary>From here on an exit code says which signal ended the program.</summary>
    private const int KilledFrom = 128;

    private readonly EmbeddedCluster? _cluster = options.Database is null ? new(
        session.Directory, PostgresPrograms.Find()) : null;
    private ChildProcess? _agent;
    private ChildProcess? _server;

    /// <summary>Where clients connected once they may connect again: ports that the system picked stay picked.</summary>
    private ReadyAnswer? _ready;

    public LogFollower AgentLog { get; } = new("agent", session.Directory.LogFile("agent"));

    public LogFollower ServerLog { get; } = new("server", session.Directory.LogFile("server"));

    /// <summary>Starts what is not running, and waits until clients may connect.</summary>
    public async Task<ReadyAnswer> StartAsync(CancellationToken cancellation)
    {
        if (_cluster is not null)
            await _cluster.StartAsync(cancellation);
        if (ChildProcess.Adopt("server", session.Directory, "bml-server") is { } stale)
            ProcessId.Kill(stale.Id);
        StartAgent();
        StartServer();
        _ready = await ReadyAsync(cancellation);
        if (options.Volumes.Count > 0)
            await AddVolumesAsync(cancellation);
        return _ready;
    }

    /// <summary>Starts again what has died, until told to end.</summary>
    public async Task SuperviseAsync(CancellationToken cancellation)
    {
        using var quit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        List<SupervisedPart> parts =
        [
            new("agent", () => _agent!.IsAlive, () => _agent!.ExitCode, _ => Done(StartAgent), () => _agent!.LastLine()),
            new("server", () => IsServing(quit), () => _server!.ExitCode, StartServerAsync, () => _server!.LastLine()),
        ];
        if (_cluster is not null)
            parts.Add(new(
                "postgres", () => _cluster.ProcessId is not null, () => null, _cluster.StartAsync,
                () => $"see {_cluster.LogFile}"));
        await new Supervisor(TimeProvider.System, line => Console.Error.WriteLine($"bml: {line}"))
            .RunAsync(parts, quit.Token);
    }

    /// <summary>A server that ended because a QMP client said quit is not missed: everything ends with it.</summary>
    private bool IsServing(CancellationTokenSource quit)
    {
        if (_server!.IsAlive)
            return true;
        if (_server.ExitCode != ExitCode.Quit)
            return false;
        quit.Cancel();
        return true;
    }

    /// <summary>Ends everything in order: first who asks, then who is asked.</summary>
    public async Task StopAsync()
    {
        if (_server is not null)
            await _server.StopAsync(_stopLimit);
        if (_agent is not null && !options.ExternalAgent)
            await _agent.StopAsync(_stopLimit);
        if (_cluster is not null)
            await _cluster.StopAsync(CancellationToken.None);
    }

    private static Task Done(Action act)
    {
        act();
        return Task.CompletedTask;
    }

    private async Task AddVolumesAsync(CancellationToken cancellation)
    {
        using var api = session.Connect();
        var there = JsonSerializer.Deserialize(
            await api.GetAsync("v1/volumes"), ApiJson.Default.VolumesAnswer)!.Volumes;
        foreach (var (name, backend) in options.Volumes.Where(v => there.All(t => t.Name != v.Name)))
        {
            using var one = new ApiClient(session.Directory, commandId: null, cancellation);
            await VolumeVerbs.AddAsync(one, name, backend, readOnly: false, durability: null, whenFull: null);
        }
    }

    /// <summary>Takes over the Agent that runs, or starts one. A second one would only be sent away by the first.</summary>
    private void StartAgent()
    {
        _agent = ChildProcess.Adopt("agent", session.Directory, "bml-agent");
        if (_agent is not null || options.ExternalAgent)
            return;
        var listeners = _ready?.Nbd ?? options.Nbd;
        _agent = ChildProcess.Start(
            "agent", session.Directory, Programs.Agent,
            ["--data-dir", session.Directory.Path, .. Quota(), .. listeners.SelectMany(u => new[] { "--nbd", u })]);
    }

    private string[] Quota() => options.JournalQuota is { } bytes
        ? ["--journal-quota", bytes.ToString(CultureInfo.InvariantCulture)]
        : [];

    private async Task StartServerAsync(CancellationToken cancellation)
    {
        // Without its PostgreSQL it would only end again.
        while (_cluster is { ProcessId: null })
            await Task.Delay(_look, cancellation);
        StartServer();
    }

    private void StartServer()
    {
        File.Delete(session.Directory.ApiSocket);
        List<string> arguments =
        [
            "--data-dir", session.Directory.Path, "--database", options.Database ?? _cluster!.ConnectionString,
            "--http", _ready?.Http is { } address ? new Uri(address).Authority : options.Http,
        ];
        if (options.Qmp is { } qmp)
            arguments.AddRange(["--qmp", Path.GetFullPath(qmp)]);
        if (_cluster is not null)
            arguments.Add("--own-cluster");
        arguments.AddRange(Quota());
        _server = ChildProcess.Start("server", session.Directory, Programs.Server, arguments);
    }

    private async Task<ReadyAnswer> ReadyAsync(CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(_readyLimit);
        var said = false;
        using var api = session.Connect();
        while (true)
        {
            await StartAgainWhatWasKilledAsync(cancellation);
            try
            {
                if (File.Exists(session.Directory.ApiSocket))
                    return JsonSerializer.Deserialize(await api.GetAsync("health/ready"), ApiJson.Default.ReadyAnswer)!;
            }
            catch (CliException waiting)
            {
                // Not yet. Clients of the agent write on however long a PostgreSQL of the user's own is away.
                if (waiting.Message.Contains(ReadyAnswer.WaitingForPostgres, StringComparison.Ordinal))
                {
                    limit.CancelAfter(_readyLimit);
                    if (!said)
                        await Console.Error.WriteLineAsync($"bml: {ReadyAnswer.WaitingForPostgres}; volumes are served meanwhile");
                    said = true;
                }
            }

            await Task.Delay(_look, limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellation.ThrowIfCancellationRequested();
            if (limit.IsCancellationRequested)
                throw new CliException(
                    ErrorCode.Failed, $"nothing was ready after {_readyLimit.TotalSeconds:0} s",
                    $"{session.Directory.Logs} says why");
        }
    }

    /// <summary>
    /// A child that ends by itself before anything is ready says what is wrong with the call, and that ends the start;
    /// one that was killed, or lost its PostgreSQL, has said nothing of the kind.
    /// </summary>
    private async Task StartAgainWhatWasKilledAsync(CancellationToken cancellation)
    {
        var excused = false;
        if (_cluster is { ProcessId: null })
        {
            await _cluster.StartAsync(cancellation);
            excused = true;
        }

        if (!_server!.IsAlive)
        {
            if (!excused && _server.ExitCode is not (null or >= KilledFrom))
                throw await EndedAsync(ServerLog, "bml-server: ", _server.ExitCode);
            StartServer();
        }

        if (_agent is null or { IsAlive: false })
        {
            if (_agent?.ExitCode is < KilledFrom)
                throw await EndedAsync(AgentLog, "agent: ", _agent.ExitCode);
            StartAgent();
        }
    }

    /// <summary>What a child said last is why it ended.</summary>
    private static async Task<CliException> EndedAsync(LogFollower log, string marker, int? exitCode)
    {
        await log.ReadAsync(quiet: true);
        var last = log.Last.Split('\n').LastOrDefault(l => l.Contains(marker, StringComparison.Ordinal)) ?? log.Last;
        var text = last.IndexOf(
            marker, StringComparison.Ordinal) is var at and >= 0 ? last[(at + marker.Length)..] : last;
        return new(
            exitCode switch { ExitCode.Busy => ErrorCode.Busy, ExitCode.Usage => ErrorCode.BadArgument, _ => ErrorCode.Failed },
            text.Length > 0 ? text : $"a child ended with {exitCode}");
    }
}
