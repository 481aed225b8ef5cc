namespace BitmapLedger.EndToEnd.Tests;

/// <summary>
/// A client that writes blocks of its own stretch again and again, flushes now and then, and says before and after each step
/// what it does. Each write is its number, over and over; so a block shows which write it holds, and what the client said
/// shows which ones it may hold.
/// </summary>
internal sealed class FlushingClient : IDisposable
{
    public const int Block = 4096;

    private readonly ToldShell _shell;
    private readonly Lock _lock = new();
    private readonly List<(long Number, long Block)> _sent = [];
    private long _answered;
    private long _flushed;

    /// <param name="uri">Export.</param>
    /// <param name="first">First block of its stretch.</param>
    /// <param name="count">Blocks of its stretch.</param>
    /// <param name="after">Its writes are numbered from the next on.</param>
    /// <param name="seed">Of where it writes and when it flushes.</param>
    public FlushingClient(string uri, long first, int count, long after, int seed)
    {
        _answered = _flushed = after;
        _shell = new(["-u", uri, "-c", Script(first, count, after, seed)], Take);
    }

    /// <summary>Every write that was sent, answered or not, in order; whole once the client has ended.</summary>
    public IReadOnlyList<(long Number, long Block)> Sent
    {
        get
        {
            lock (_lock)
                return [.. _sent];
        }
    }

    /// <summary>The last write that was answered.</summary>
    public long Answered => Volatile.Read(ref _answered);

    /// <summary>The last write that a flush covered.</summary>
    public long Flushed => Volatile.Read(ref _flushed);

    /// <summary>Waits until so many more writes were answered.</summary>
    public Task MoreAsync(int more)
    {
        var wanted = Answered + more;
        return _shell.UntilAsync(() => Answered >= wanted, $"{more} more answers");
    }

    /// <summary>Nothing is under way when this returns, and nothing is sent before <see cref="GoOnAsync"/>.</summary>
    public Task PauseAsync() => _shell.PauseAsync();

    public Task GoOnAsync() => _shell.GoOnAsync();

    /// <summary>Waits until it has been refused something, or has lost its server.</summary>
    public Task EndedAsync() => _shell.EndedAsync();

    /// <summary>Ends it and takes in all that it said.</summary>
    public Task EndAsync()
    {
        _shell.Kill();
        return EndedAsync();
    }

    public void Dispose() => _shell.Dispose();

    private void Take(string[] word)
    {
        switch (word[0])
        {
            case "send":
                lock (_lock)
                    _sent.Add((long.Parse(word[1]), long.Parse(word[2])));
                break;
            case "answered":
                Volatile.Write(ref _answered, long.Parse(word[1]));
                break;
            case "flushed":
                Volatile.Write(ref _flushed, long.Parse(word[1]));
                break;
        }
    }

    private static string Script(long first, int count, long after, int seed) => $$"""
        import random, select, struct, sys
        rng, number = random.Random({{seed}}), {{after}}
        def say(text):
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        while True:
            if select.select([sys.stdin], [], [], 0)[0] and sys.stdin.readline().strip() == "pause":
                say("paused")
                if sys.stdin.readline().strip() != "go":
                    sys.exit(0)
            number += 1
            block = {{first}} + rng.randrange({{count}})
            say("send %d %d" % (number, block))
            h.pwrite(struct.pack("<q", number) * {{Block / 8}}, block * {{Block}})
            say("answered %d" % number)
            if rng.randrange(25) == 0:
                h.flush()
                say("flushed %d" % number)
        """;
}
