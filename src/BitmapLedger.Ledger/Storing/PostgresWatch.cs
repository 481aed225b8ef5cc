using System.Net.Sockets;
using BitmapLedger.Contracts;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BitmapLedger.Ledger.Storing;

/// <summary>
/// Knows whether PostgreSQL answers, by asking it over a connection of its own: when somebody wants to know, and
/// while it is away, four times a second. Idle, it asks nothing. Used by any thread.
/// </summary>
public sealed partial class PostgresWatch : IDisposable
{
    /// <summary>A server that says nothing for this long when it is asked who it is is away: what is under way with it is
    /// cancelled.</summary>
    private static readonly TimeSpan _answerLimit = TimeSpan.FromSeconds(4);

    /// <summary>Nobody who commands waits longer than this for a server that says nothing.</summary>
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan _look = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan _longWork = TimeSpan.FromSeconds(1);

    /// <summary>It is not asked again before work so soon after it has answered: work that is under way is looked after.</summary>
    private static readonly TimeSpan _fresh = TimeSpan.FromMilliseconds(250);

    private readonly NpgsqlDataSource _source;
    private readonly TimeProvider _clock;
    private readonly ILogger<PostgresWatch> _log;
    private readonly CancellationTokenSource _ending = new();
    private readonly Lock _lock = new();
    private Task<bool>? _asking;
    private long _asked;
    private TaskCompletionSource? _back;
    private CancellationTokenSource _away = new();
    private string? _reason;
    private LedgerException? _refusal;
    private long _awaySince;
    private long _answered;
    private string? _backend;

    /// <summary>PostgreSQL is taken to be there until it is asked.</summary>
    /// <param name="connectionString">Of PostgreSQL.</param>
    /// <param name="clock">Measures how long it is away.</param>
    /// <param name="log">Is told when it goes and when it is back.</param>
    public PostgresWatch(string connectionString, TimeProvider clock, ILogger<PostgresWatch> log)
    {
        _source = LedgerRegistration.DataSource(connectionString, connectionsMax: 1);
        _clock = clock;
        _log = log;
    }

    /// <summary>Told of each new connection to PostgreSQL, before anybody hears that it answers: it may have been restored from a
    /// backup, or be another one that lacks the last commits. Set before anything is asked.</summary>
    public Action OnConnected { get; set; } = () => { };

    /// <summary>Why it is away; null while it is there.</summary>
    public string? Reason => Volatile.Read(ref _reason);

    /// <summary>Why it will not let this program in however long one waits; null when that is not so.</summary>
    public LedgerException? Refusal => Volatile.Read(ref _refusal);

    /// <summary>Whether a failure means that PostgreSQL cannot work now, and not that it was asked wrongly: no
    /// connection, an end or a start of the server, no room, no memory, no connection left, or a standby.</summary>
    public static bool IsOutage(Exception failure)
    {
        for (var cause = failure; cause is not null; cause = cause.InnerException)
        {
            if (cause is PostgresException refusal)
                return refusal.SqlState[..2] is "08" or "53" or "58" || refusal.SqlState is
                    PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown or PostgresErrorCodes.CannotConnectNow
                    or PostgresErrorCodes.ReadOnlySqlTransaction;
            if (cause is NpgsqlException { IsTransient: true } or SocketException or TimeoutException or ObjectDisposedException)
                return true;
        }

        return false;
    }

    /// <summary>What a command is answered that needs PostgreSQL while it is away.</summary>
    public static LedgerException Busy(string reason) => new(
        ErrorCode.Busy, $"PostgreSQL is away: {reason}", "writes go on and are journaled; try again when it is back");

    /// <summary>Asks whether it answers now.</summary>
    /// <returns>False when it does not; <see cref="Reason"/> says why.</returns>
    public Task<bool> LookAsync(CancellationToken cancellation)
    {
        lock (_lock)
        {
            if (_asking is not { IsCompleted: false })
                (_asking, _asked) = (AskAsync(), _clock.GetTimestamp());
            return _asking.WaitAsync(cancellation);
        }
    }

    /// <summary>Returns when it is there, as far as is known.</summary>
    public async Task HereAsync(CancellationToken cancellation)
    {
        Task? back;
        lock (_lock)
            back = _back?.Task;
        if (back is not null)
            await back.WaitAsync(cancellation);
    }

    /// <summary>Does work that needs PostgreSQL, and returns when it has ended. While PostgreSQL is away nothing is tried; when it
    /// goes away meanwhile, even without a word, the work is cancelled. Where the server hangs, that may end it only when the server
    /// goes on or dies: Npgsql waits for its word that it has cancelled, too.</summary>
    /// <param name="work">What is done.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">PostgreSQL is away (<c>busy</c>).</exception>
    public async Task WithAsync(Func<CancellationToken, Task> work, CancellationToken cancellation)
    {
        if (Reason is { } away)
            throw Busy(away);
        if (!IsFresh() && await SilenceAsync(cancellation) is { } silence)
            throw Busy(silence);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellation, Away());
        var running = work(linked.Token);
        while (!await EndsSoonAsync(running))
            await Task.WhenAny(running, LookAsync(CancellationToken.None));
        try
        {
            await running;
        }
        catch (OperationCanceledException) when (linked.IsCancellationRequested && !cancellation.IsCancellationRequested)
        {
            throw Busy(Reason ?? "it was away for a moment");
        }
    }

    /// <summary>Waits for work that <see cref="WithAsync"/> looks after, on behalf of somebody, but no longer than PostgreSQL says
    /// something now and then.</summary>
    /// <param name="begin">Begins the work.</param>
    /// <param name="leave">Told to end the work when it is left: it ends by itself then, before its next step, and nobody asks
    /// how.</param>
    /// <exception cref="LedgerException">PostgreSQL says nothing (<c>busy</c>). Where it was asked to commit and says nothing, whether
    /// the work acted is known to who asks again under its command id, as when a reply was lost.</exception>
    public async Task<T> AttendAsync<T>(Func<Task<T>> begin, CancellationTokenSource leave)
    {
        var running = begin();
        while (!await EndsSoonAsync(running))
        {
            if (await SilenceAsync(CancellationToken.None) is not { } silence)
                continue;
            CancelAside(leave);
            _ = running.ContinueWith(
                left => left.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
            throw Busy(silence);
        }

        return await running;
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _ending.Cancel();
        _source.Dispose();
        _away.Dispose();
    }

    private bool IsFresh() =>
        Volatile.Read(ref _answered) is not 0 and var answered && _clock.GetElapsedTime(answered) < _fresh;

    /// <summary>Gives work some time; false when it needs more.</summary>
    private async Task<bool> EndsSoonAsync(Task running)
    {
        await running.WaitAsync(_longWork, _clock).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return running.IsCompleted;
    }

    /// <summary>Why nobody should wait for it: it is away, or has not answered for as long as anybody should wait.</summary>
    private async Task<string?> SilenceAsync(CancellationToken cancellation)
    {
        var answer = LookAsync(cancellation);
        try
        {
            var waited = _clock.GetElapsedTime(Volatile.Read(ref _asked));
            if (await answer.WaitAsync(waited < _patience ? _patience - waited : TimeSpan.Zero, _clock, cancellation))
                return null;
        }
        catch (TimeoutException)
        {
            return Reason ?? $"it has not answered for {_patience.TotalSeconds:0} s";
        }

        return Reason ?? "it does not answer";
    }

    private CancellationToken Away()
    {
        lock (_lock)
            return _away.Token;
    }

    private async Task<bool> AskAsync()
    {
        string? reason = null;
        LedgerException? refusal = null;
        var asked = _clock.GetTimestamp();
        CancellationTokenSource question = new();
        try
        {
            await AnswerAsync(question.Token).WaitAsync(_answerLimit, _clock, _ending.Token);
            Volatile.Write(ref _answered, asked);
        }
        catch (Exception silence) when (silence is OperationCanceledException or TimeoutException)
        {
            CancelAside(question);
            reason = $"it does not answer within {_answerLimit.TotalSeconds:0} s";
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            reason = failure.GetBaseException() is PostgresException said ? said.MessageText : failure.GetBaseException().Message;
            refusal = IsOutage(failure)
                ? null
                : new(ErrorCode.Failed, $"PostgreSQL refuses the server: {reason}", "see --database");
        }

        Volatile.Write(ref _refusal, refusal);
        if (!_ending.IsCancellationRequested)
            Set(reason);
        return reason is null;
    }

    /// <summary>Cancels what a server may hang under. Npgsql waits in there until the server says that it has cancelled, without a
    /// limit: that must hold up neither who cancels nor the threads that others are answered by.</summary>
    private static void CancelAside(CancellationTokenSource cancelled) => new Thread(() =>
    {
        try
        {
            cancelled.Cancel();
        }
        catch (AggregateException)
        {
            // A connection that fails while it is told has ended, too.
        }
    })
    {
        IsBackground = true,
        Name = "cancel",
    }.Start();

    private async Task AnswerAsync(CancellationToken cancellation)
    {
        await using var connection = await _source.OpenConnectionAsync(cancellation);
        await using var question = new NpgsqlCommand("select pg_postmaster_start_time()::text || pg_backend_pid()", connection);
        var backend = await question.ExecuteScalarAsync(cancellation) as string;
        if (Interlocked.Exchange(ref _backend, backend) != backend)
            OnConnected();
    }

    private void Set(string? reason)
    {
        TaskCompletionSource? back = null;
        CancellationTokenSource? away = null;
        lock (_lock)
        {
            if (reason is null && _back is not null)
            {
                (back, _back) = (_back, null);
                _away = new();
                var time = _clock.GetElapsedTime(_awaySince);
                IsBack(time);
            }
            else if (reason is not null && _back is null)
            {
                _back = new(TaskCreationOptions.RunContinuationsAsynchronously);
                _awaySince = _clock.GetTimestamp();
                away = _away;
                IsAway(reason);
            }

            Volatile.Write(ref _reason, reason);
        }

        back?.SetResult();
        if (away is null)
            return;
        CancelAside(away);
        _ = KeepLookingAsync();
    }

    private async Task KeepLookingAsync()
    {
        while (Reason is not null && !_ending.IsCancellationRequested)
        {
            await Task.Delay(_look, _clock, _ending.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await LookAsync(CancellationToken.None);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "PostgreSQL is away, writes go on and are journaled: {Reason}")]
    private partial void IsAway(string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "PostgreSQL is back after {Time}")]
    private partial void IsBack(TimeSpan time);
}
