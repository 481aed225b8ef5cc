using System.Globalization;
using System.Text.Json;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Hosting;

namespace BitmapLedger.Cli.Serving;

/// <summary>
/// Everything that <c>bml serve</c> runs: PostgreSQL, Agent, Server. They outlive a killed parent; what is alive is
/// adopted,
/// except the Server, which keeps nothing that it could lose.
/// </summary>
internal sealed class Service(Session session, ServeOptions options)
{
    private static readonly TimeSpan _readyLimit = TimeSpan.FromSeconds(50);
    private static readonly TimeSpan _stopLimit = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan _look = TimeSpan.FromMilliseconds(20);

    private readonly EmbeddedCluster? _cluster = options.Database is null ? new(
        session.Directory, PostgresPrograms.Find()) : null;
    private ChildProcess? _agent;
    private ChildProcess? _server;

    public LogFollower AgentLog { get; } = new("agent", session.Directory.LogFile("agent"));

    public LogFollower ServerLog { get; } = new("server", session.Directory.LogFile("server"));

    /// <summary>Starts what is not running, and waits until clients may connect.</summary>
    public async Task<ReadyAnswer> StartAsync(CancellationToken cancellation)
    {
        if (_cluster is not null)
            await _cluster.StartAsync(cancellation);
        if (ProcessId.Living(session.Directory.PidFile("server"), "bml-server") is { } stale)
            ProcessId.Kill(stale);
        _agent = ChildProcess.Adopt("agent", session.Directory, "bml-agent") ?? StartAgent();
        _server = StartServer();
        var ready = await ReadyAsync(cancellation);
        using var api = session.Connect();
        var there = JsonSerializer.Deserialize(
            await api.GetAsync("v1/volumes"), ApiJson.Default.VolumesAnswer)!.Volumes;
        foreach (var (name, backend) in options.Volumes.Where(v => there.All(t => t.Name != v.Name)))
        {
            using var one = new ApiClient(session.Directory, commandId: null);
            await VolumeVerbs.AddAsync(one, name, backend, readOnly: false, durability: null, whenFull: null);
        }

        return ready;
    }

    /// <summary>Starts again what has died, until told to end. Each death doubles the pause before the next
    /// start.</summary>
    public async Task SuperviseAsync(CancellationToken cancellation)
    {
        var backoff = new Dictionary<string, Backoff>(StringComparer.Ordinal);
        while (!cancellation.IsCancellationRequested)
        {
            await Task.Delay(_look, cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (cancellation.IsCancellationRequested)
                return;
            if (_cluster is { ProcessId: null })
                await AgainAsync("postgres", () => _cluster.StartAsync(cancellation));
            if (!_agent!.IsAlive)
                await AgainAsync("agent", () => Task.FromResult(_agent = StartAgent()));
            if (!_server!.IsAlive)
                await AgainAsync("server", () => Task.FromResult(_server = StartServer()));
        }

        async Task AgainAsync(string name, Func<Task> start)
        {
            var pause = (backoff.TryGetValue(name, out var known) ? known : backoff[name] = new()).Next();
            await Console.Error.WriteLineAsync(
                $"bml: {name} died; starting it again in {pause.TotalMilliseconds:0} ms");
            await Task.Delay(pause, cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            try
            {
                if (!cancellation.IsCancellationRequested)
                    await start();
            }
            catch (HostingException failure)
            {
                await Console.Error.WriteLineAsync($"bml: {name} does not start: {failure.Message}");
            }
        }
    }

    /// <summary>Ends everything in order: first who asks, then who is asked.</summary>
    public async Task StopAsync()
    {
        if (_server is not null)
            await _server.StopAsync(_stopLimit);
        if (_agent is not null)
            await _agent.StopAsync(_stopLimit);
        if (_cluster is not null)
            await _cluster.StopAsync(CancellationToken.None);
    }

    private ChildProcess StartAgent()
    {
        File.Delete(session.Directory.PidFile("agent"));
        return ChildProcess.Start(
            "agent", session.Directory, Programs.Agent, ["--data-dir", session.Directory.Path, .. options.Nbd.SelectMany(u => new[] { "--nbd", u })]);
    }

    private ChildProcess StartServer()
    {
        File.Delete(session.Directory.ApiSocket);
        List<string> arguments =
        [
            "--data-dir", session.Directory.Path, "--http", options.Http, "--database", options.Database ?? _cluster!.ConnectionString,
        ];
        if (_cluster is not null)
            arguments.Add("--own-cluster");
        if (options.JournalQuota is { } quota)
            arguments.AddRange(["--journal-quota", quota.ToString(CultureInfo.InvariantCulture)]);
        return ChildProcess.Start("server", session.Directory, Programs.Server, arguments);
    }

    private async Task<ReadyAnswer> ReadyAsync(CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(_readyLimit);
        using var api = session.Connect();
        while (true)
        {
            if (!_server!.IsAlive)
                throw await EndedAsync(ServerLog, "bml-server: ", _server.ExitCode);
            if (!_agent!.IsAlive)
                throw await EndedAsync(AgentLog, "agent: ", _agent.ExitCode);
            try
            {
                if (File.Exists(session.Directory.ApiSocket))
                    return JsonSerializer.Deserialize(await api.GetAsync("health/ready"), ApiJson.Default.ReadyAnswer)!;
            }
            catch (CliException)
            {
                // Not yet.
            }

            await Task.Delay(_look, limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellation.ThrowIfCancellationRequested();
            if (limit.IsCancellationRequested)
                throw new CliException(
                    ErrorCode.Failed, $"nothing was ready after {_readyLimit.TotalSeconds:0} s",
                    $"{session.Directory.Logs} says why");
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
            exitCode == ExitCode.Busy ? ErrorCode.Busy : ErrorCode.Failed,
            text.Length > 0 ? text : $"a child ended with {exitCode}");
    }

    private sealed class Backoff
    {
        private static readonly TimeSpan _first = TimeSpan.FromMilliseconds(50);
        private static readonly TimeSpan _most = TimeSpan.FromSeconds(10);

        /// <summary>Whoever ran this long is taken to be well again.</summary>
        private static readonly TimeSpan _calm = TimeSpan.FromSeconds(30);

        private TimeSpan _pause = _first;
        private long _at;

        public TimeSpan Next()
        {
            var clock = TimeProvider.System;
            _pause = _at != 0 && clock.GetElapsedTime(
                _at) < _calm ? TimeSpan.FromTicks(Math.Min(_pause.Ticks * 2, _most.Ticks)) : _first;
            _at = clock.GetTimestamp();
            return _pause;
        }
    }
}
