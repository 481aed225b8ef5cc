using System.Net.Sockets;

namespace BitmapLedger.Testing;

/// <summary>
/// Stands between a client and a PostgreSQL socket. While it cuts, each connection ends without a word after a number of
/// bytes drawn from a seeded random: before, in the middle of and after whatever is asked, answers and commits included. It
/// can also end a connection just where PostgreSQL says that it has committed. Meanwhile it counts what passes.
/// </summary>
public sealed class CuttingProxy : IAsyncDisposable
{
    private const int BytesMax = 30_000;
    private readonly string _target;
    private readonly Random _random;
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly CancellationTokenSource _ending = new();
    private readonly Task _accepting;
    private int _cuts;
    private int _toLose;
    private long _passed;
    private volatile bool _cutting;

    /// <summary>CommandComplete of a COMMIT.</summary>
    private static ReadOnlySpan<byte> Committed => "C\0\0\0\u000bCOMMIT\0"u8;

    /// <param name="directory">An own directory; what <c>Host=</c> names instead of the real one.</param>
    /// <param name="target">Directory of PostgreSQL's socket.</param>
    /// <param name="seed">Of where it cuts.</param>
    public CuttingProxy(string directory, string target, int seed)
    {
        _target = Path.Combine(target, ".s.PGSQL.5432");
        _random = new(seed);
        Directory.CreateDirectory(directory);
        _listener.Bind(new UnixDomainSocketEndPoint(Path.Combine(directory, ".s.PGSQL.5432")));
        _listener.Listen(64);
        _accepting = AcceptAsync();
    }

    /// <summary>Whether connections are cut from now on; those that are open included.</summary>
    public bool Cutting
    {
        get => _cutting;
        set => _cutting = value;
    }

    /// <summary>How often it has cut.</summary>
    public int Cuts => Volatile.Read(ref _cuts);

    /// <summary>The next so many commits are done, and their acknowledgement is not passed on.</summary>
    public void LoseAcknowledgements(int count) => Volatile.Write(ref _toLose, count);

    /// <summary>Bytes that have passed, both ways.</summary>
    public long Passed => Interlocked.Read(ref _passed);

    public async ValueTask DisposeAsync()
    {
        await _ending.CancelAsync();
        _listener.Dispose();
        await _accepting.WaitAsync(TimeSpan.FromSeconds(30));
        _ending.Dispose();
    }

    private async Task AcceptAsync()
    {
        List<Task> pairs = [];
        try
        {
            while (true)
                pairs.Add(ServeAsync(await _listener.AcceptAsync(_ending.Token), _random.Next(1, BytesMax)));
        }
        catch (Exception ended) when (ended is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            await Task.WhenAll(pairs);
        }
    }

    private async Task ServeAsync(Socket client, int budget)
    {
        using var server = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        using (client)
        {
            try
            {
                await server.ConnectAsync(new UnixDomainSocketEndPoint(_target), _ending.Token);
                var left = new Budget(budget);
                await Task.WhenAny(
                    PumpAsync(client, server, left, canLose: false), PumpAsync(server, client, left, canLose: true));
            }
            catch (Exception ended) when (ended is OperationCanceledException or SocketException)
            {
                // The test is over, or PostgreSQL is away: the client sees its connection end.
            }
        }
    }

    private async Task PumpAsync(Socket from, Socket to, Budget budget, bool canLose)
    {
        var bytes = new byte[4096];
        try
        {
            while (await from.ReceiveAsync(bytes, _ending.Token) is var count and > 0)
            {
                var passed = canLose && Loses(bytes.AsSpan(0, count)) ? 0 : _cutting ? budget.Take(count) : count;
                for (var sent = 0; sent < passed;)
                    sent += await to.SendAsync(bytes.AsMemory(sent, passed - sent), _ending.Token);
                Interlocked.Add(ref _passed, passed);
                if (passed == count)
                    continue;
                Interlocked.Increment(ref _cuts);
                return;
            }
        }
        catch (Exception ended) when (ended is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The other direction has ended.
        }
    }

    private bool Loses(ReadOnlySpan<byte> answer) =>
        Volatile.Read(ref _toLose) > 0 && answer.IndexOf(Committed) >= 0 && Interlocked.Decrement(ref _toLose) >= 0;

    private sealed class Budget(int bytes)
    {
        private int _left = bytes;

        /// <summary>How many of some bytes may pass.</summary>
        public int Take(int count) => Math.Clamp(Interlocked.Add(ref _left, -count) + count, 0, count);
    }
}
