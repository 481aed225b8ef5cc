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
    /// <summary>A server that says nothing for this long when it is asked who it is is away.</summary>
    private static readonly TimeSpan _answerLimit = TimeSpan.FromSeconds(4);

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
                _asking = AskAsync();
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

    /// <summary>Does work that needs PostgreSQL. While it is away nothing is tried; when it goes away meanwhile, even
    /// without a word, the work is cancelled.</summary>
    /// <param name="work">What is done.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">PostgreSQL is away (<c>busy</c>).</exception>
    public async Task WithAsync(Func<CancellationToken, Task> work, CancellationToken cancellation)
    {
        if (Reason is { } away)
            throw Busy(away);
        if (!IsFresh() && !await LookAsync(cancellation))
            throw Busy(Reason ?? "it does not answer");
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellation, Away());
        var running = work(linked.Token);
        while (await Task.WhenAny(running, Task.Delay(_longWork, _clock, CancellationToken.None)) != running)
            await LookAsync(CancellationToken.None);
        try
        {
            await running;
        }
        catch (OperationCanceledException) when (linked.IsCancellationRequested && !cancellation.IsCancellationRequested)
        {
            throw Busy(Reason ?? "it was away for a moment");
        }
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
        try
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(_ending.Token);
            limit.CancelAfter(_answerLimit);
            // A cancelled question waits for a server that may be stopped: it is left to itself.
            await AnswerAsync(limit.Token).WaitAsync(limit.Token);
            Volatile.Write(ref _answered, asked);
        }
        catch (OperationCanceledException)
        {
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
        away.Cancel();
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
