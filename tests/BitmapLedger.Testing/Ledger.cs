using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text.Json;

namespace BitmapLedger.Testing;

/// <summary>A running <c>bml serve</c> on a data directory of its own, driven from outside as a user would.</summary>
public sealed class Ledger : IAsyncDisposable
{
    private static readonly TimeSpan _readyLimit = TimeSpan.FromMinutes(3);
    private static readonly string[] _parts = ["serve", "server", "agent", "postgres"];
    private readonly ScratchDirectory _scratch = new();
    private Process? _serve;

    private Ledger(string? dataDirectory) => DataDirectory = dataDirectory ?? _scratch["d"];

    public string DataDirectory { get; }

    /// <summary>A place for images and the like that goes with the ledger.</summary>
    public string Scratch(string name) => _scratch[name];

    /// <summary>Environment of the programs that are started from now on.</summary>
    public Dictionary<string, string> Variables { get; } = [];

    public string ReadyLine { get; private set; } = "";

    /// <summary>HTTP over TCP, as the ready line says.</summary>
    public Uri Http => new(
        ReadyLine.Split(' ').Single(w => w.StartsWith("http=", StringComparison.Ordinal))["http=".Length..]);

    public string NbdSocket => Path.Combine(DataDirectory, "run", "nbd.sock");

    public string Export(string volume) => $"nbd+unix:///{volume}?socket={NbdSocket}";

    public int ServePid => _serve?.Id ?? throw new InvalidOperationException("Not started.");

    public int Pid(string part) =>
        int.Parse(File.ReadAllText(Path.Combine(DataDirectory, "run", part + ".pid")).Trim());

    public static Task<Ledger> StartAsync(params IEnumerable<string> arguments) => StartAsync(_ => arguments);

    /// <summary>With arguments that name something in the ledger's directory.</summary>
    public static Task<Ledger> StartAsync(Func<Ledger, IEnumerable<string>> arguments)
    {
        var ledger = new Ledger(dataDirectory: null);
        return ledger.StartedAsync(arguments(ledger));
    }

    /// <summary>On a data directory that is somebody else's and stays: on a disk of its own, say.</summary>
    public static Task<Ledger> StartAtAsync(string dataDirectory, params IEnumerable<string> arguments) =>
        new Ledger(dataDirectory).StartedAsync(arguments);

    /// <summary>Runs <c>bml serve</c> (again) and waits for its ready line.</summary>
    public async Task ServeAsync(params IEnumerable<string> arguments)
    {
        string[] line = ["serve", "--data-dir", DataDirectory, "--http", "127.0.0.1:0", .. arguments];
        _serve = Tool.Start(Program, line, variables: Variables);
        var complaints = _serve.StandardError.ReadToEndAsync();
        using var limit = new CancellationTokenSource(_readyLimit);
        string? ready = null;
        try
        {
            ready = await _serve.StandardOutput.ReadLineAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            _serve.Kill();
        }

        ReadyLine = ready is not null && ready.StartsWith("ready ", StringComparison.Ordinal)
            ? ready
            : throw new InvalidOperationException($"bml serve said '{ready}'\n{await complaints}\n{Logs()}");
    }

    public ToolResult Bml(params IEnumerable<string> arguments) =>
        Tool.Run(Program, [.. arguments, "--data-dir", DataDirectory]);

    public JsonElement Json(params IEnumerable<string> arguments)
    {
        var result = Bml([.. arguments, "--json"]).Expect();
        using var document = JsonDocument.Parse(result.Output);
        return document.RootElement.Clone();
    }

    /// <summary>GET over the server's unix socket.</summary>
    public async Task<string> GetAsync(string path)
    {
        using var http = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(
                    new UnixDomainSocketEndPoint(Path.Combine(DataDirectory, "run", "api.sock")), cancellation);
                return new NetworkStream(socket, ownsSocket: true);
            },
        });
        return await http.GetStringAsync(new Uri("http://bml/" + path));
    }

    /// <summary>The server's page of metrics: series with their labels, and their values.</summary>
    public async Task<IReadOnlyDictionary<string, double>> MetricsAsync() =>
        (await GetAsync("metrics")).Split('\n').Where(l => l.Length > 0 && l[0] != '#')
            .Select(l => l.Split(' ')).ToDictionary(w => w[0], w => double.Parse(w[1], CultureInfo.InvariantCulture));

    /// <summary>Asks until the answer is no longer busy, and then good: the supervisor brings back what died.</summary>
    public async Task AnswersAsync(params string[] line)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        while (Bml(line) is { ExitCode: not 0 } answer)
        {
            if (answer.ExitCode != 11)
                throw new InvalidOperationException(
                    $"{answer.Command} ended with {answer.ExitCode}: {answer.Output}{answer.Error}");
            await Task.Delay(100, limit.Token);
        }
    }

    /// <summary>SIGTERM, as a service manager would.</summary>
    /// <returns>The exit code of <c>bml serve</c>.</returns>
    public async Task<int> StopAsync()
    {
        if (_serve is { HasExited: false })
            Posix.Signal(_serve.Id, Posix.SigTerm);
        return await EndedAsync();
    }

    /// <summary>Awaits the end of <c>bml serve</c>, whoever told it to.</summary>
    /// <returns>Its exit code.</returns>
    public async Task<int> EndedAsync()
    {
        if (_serve is null)
            return 0;
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        await _serve.WaitForExitAsync(limit.Token);
        var exitCode = _serve.ExitCode;
        _serve.Dispose();
        _serve = null;
        return exitCode;
    }

    /// <summary>kill -9 of the named parts: <c>serve</c>, <c>agent</c>, <c>server</c>, <c>postgres</c>.</summary>
    public void Kill(params IEnumerable<string> parts)
    {
        foreach (var pid in parts.Select(p => p == "serve" ? ServePid : Pid(p)).ToArray())
            Posix.Signal(pid, Posix.SigKill);
    }

    /// <summary>Stops PostgreSQL as a hanging machine would: connections stay, answers do not come.</summary>
    public void FreezePostgres() => Signal(Posix.SigStop, ["postgres"]);

    /// <summary>Undoes <see cref="FreezePostgres"/>.</summary>
    public void ThawPostgres() => Signal(Posix.SigCont, ["postgres"]);

    /// <summary>Every process stops where it is, as when the machine is suspended.</summary>
    public void Freeze() => Signal(Posix.SigStop, _parts);

    /// <summary>Undoes <see cref="Freeze"/>.</summary>
    public void Thaw() => Signal(Posix.SigCont, _parts);

    /// <summary>kill -9 of everything that <see cref="Freeze"/> has stopped: nobody does anything more.</summary>
    public void KillFrozen() => Signal(Posix.SigKill, _parts);

    private void Signal(int signal, IEnumerable<string> parts)
    {
        foreach (var part in parts)
        {
            var process = part == "serve" ? ServePid : Pid(part);
            // PostgreSQL's postmaster first when it is stopped, so that no backend is born meanwhile, and last when it is ended:
            // whose parent is gone is nobody's child any more.
            int[] all = part == "postgres" ? [process, .. Posix.Children(process)] : [process];
            foreach (var one in signal == Posix.SigStop ? all : all.Reverse())
                Posix.Signal(one, signal);
        }
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            await StopAsync();
        }
        catch (OperationCanceledException)
        {
            Kill("serve");
        }

        foreach (var part in new[] { "server", "agent", "postgres" }.Where(
            p => File.Exists(Path.Combine(DataDirectory, "run", p + ".pid"))))
        {
            if (Posix.IsAlive(Pid(part)))
                Kill(part);
        }

        _serve?.Dispose();
        _scratch.Dispose();
    }

    private static string Program => Path.Combine(Repository.Programs, "bml");

    private async Task<Ledger> StartedAsync(IEnumerable<string> arguments)
    {
        try
        {
            await ServeAsync(arguments);
            return this;
        }
        catch
        {
            await DisposeAsync();
            throw;
        }
    }

    /// <summary>What the programs said so far, all of it.</summary>
    public string Logs()
    {
        var directory = Path.Combine(DataDirectory, "log");
        string[] files = Directory.Exists(directory)
            ? [.. Directory.GetFiles(directory), Path.Combine(DataDirectory, "postgres", "postgres.log")]
            : [];
        return string.Join('\n', files.Where(File.Exists).Select(f => $"--- {f}\n{File.ReadAllText(f)}"));
    }
}
