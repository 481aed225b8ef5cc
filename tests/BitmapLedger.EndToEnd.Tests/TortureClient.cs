using System.Collections.Concurrent;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>
/// A client of libnbd that keeps eight writes under way, connects again whenever its server goes away, and says what
/// became of each write. It writes each sector of its own stretch once at most, with the sector's number as data, so
/// that the ledger and the disk can be held against what it said.
/// </summary>
internal sealed class TortureClient : IDisposable
{
    public const int Sector = 512;

    private readonly ToldShell _shell;
    private readonly ConcurrentQueue<long> _acknowledged = new();
    private readonly ConcurrentQueue<long> _unanswered = new();
    private volatile int _count;
    private volatile int _errors;

    public TortureClient(string uri, long firstSector) => _shell = new(["-c", Script(uri, firstSector)], Take);

    /// <summary>How often the server went away or refused a write.</summary>
    public int Errors => _errors;

    /// <summary>Writes acknowledged since the beginning.</summary>
    public int Count => _count;

    /// <summary>Waits until <paramref name="more"/> writes were acknowledged from now on.</summary>
    public Task MoreAsync(int more)
    {
        var wanted = _count + more;
        return _shell.UntilAsync(() => _count >= wanted, $"{more} more acknowledged writes");
    }

    /// <summary>No write is under way when this returns.</summary>
    /// <returns>What was acknowledged, and what was sent and never answered, since the last pause.</returns>
    public async Task<(IReadOnlyList<long> Acknowledged, IReadOnlyList<long> Unanswered)> PauseAsync()
    {
        await _shell.PauseAsync();
        return (Drain(_acknowledged), Drain(_unanswered));
    }

    public Task GoOnAsync() => _shell.GoOnAsync();

    public void Dispose() => _shell.Dispose();

    private void Take(string[] word)
    {
        switch (word[0])
        {
            case "ok":
                _acknowledged.Enqueue(long.Parse(word[1]));
                Interlocked.Increment(ref _count);
                break;
            case "lost":
                _unanswered.Enqueue(long.Parse(word[1]));
                break;
            default:
                Interlocked.Increment(ref _errors);
                break;
        }
    }

    private static List<long> Drain(ConcurrentQueue<long> queue)
    {
        List<long> all = [];
        while (queue.TryDequeue(out var sector))
            all.Add(sector);
        return all;
    }

    private static string Script(string uri, long firstSector) => $$"""
        import nbd, select, struct, sys, time
        sector, flying, ending = {{firstSector}}, {}, False
        def say(text):
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        def told():
            return select.select([sys.stdin], [], [], 0)[0] and sys.stdin.readline().strip()
        def connect():
            while True:
                h = nbd.NBD()
                try:
                    h.connect_uri("{{uri}}")
                    return h
                except nbd.Error:
                    time.sleep(0.02)
        def lose(text):
            for lost, _ in flying.values():
                say("lost %d" % lost)
            flying.clear()
            say("error " + text.replace("\n", " "))
        def reap(h):
            for cookie in list(flying):
                if h.aio_command_completed(cookie):
                    say("ok %d" % flying.pop(cookie)[0])
        h = connect()
        while True:
            try:
                if told() == "pause":
                    while flying:
                        h.poll(-1)
                        reap(h)
                    say("paused")
                    if sys.stdin.readline().strip() != "go":
                        sys.exit(0)
                while len(flying) < 8:
                    data = nbd.Buffer.from_bytearray(bytearray(struct.pack("<q", sector + 1) * 64))
                    flying[h.aio_pwrite(data, sector * 512)] = (sector, data)
                    sector += 1
                h.poll(-1)
                reap(h)
                time.sleep(0.002)
            except nbd.Error as error:
                lose(str(error))
                h = connect()
        """;
}
