
namespace BitmapLedger.Cli.Serving;

/// <summary>Passes on what a child says, with its name in front, from where its log ended when it was
/// started.</summary>
internal sealed class LogFollower(string name, string path)
{
    private static readonly TimeSpan _look = TimeSpan.FromMilliseconds(100);

    /// <summary>Enough to say why a child ended.</summary>
    private const int LastLinesMax = 20;

    private readonly Queue<string> _last = new();
    private long _position = File.Exists(path) ? new FileInfo(path).Length : 0;
    private string _partial = "";

    /// <summary>The newest lines.</summary>
    public string Last => string.Join('\n', _last);

    public async Task RunAsync(bool quiet, CancellationToken cancellation)
    {
        while (!cancellation.IsCancellationRequested)
        {
            await ReadAsync(quiet);
            await Task.Delay(_look, cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Reads what is there now.</summary>
    public async Task ReadAsync(bool quiet)
    {
        if (!File.Exists(path))
            return;
        await using var file = new FileStream(
            path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        file.Seek(Math.Min(_position, file.Length), SeekOrigin.Begin);
        using var reader = new StreamReader(file);
        var text = _partial + await reader.ReadToEndAsync(CancellationToken.None);
        _position = file.Position;
        var lines = text.Split('\n');
        _partial = lines[^1];
        foreach (var line in lines[..^1])
        {
            _last.Enqueue(line);
            if (_last.Count > LastLinesMax)
                _last.Dequeue();
            if (!quiet)
                await Console.Error.WriteLineAsync($"{name}: {line}");
        }
    }
}
