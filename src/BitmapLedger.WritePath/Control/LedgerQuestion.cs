using System.Diagnostics;
using BitmapLedger.Contracts.Control;

namespace BitmapLedger.WritePath.Control;

/// <summary>Whom the Agent asks about the past.</summary>
public interface ILedger
{
    /// <summary>Asks, without waiting for the answer; one who is not there has answered at once that he is not.</summary>
    /// <param name="question">What.</param>
    /// <param name="limit">How long to wait for a Server that does not even read.</param>
    LedgerQuestion Ask(ControlRequest question, TimeSpan limit);
}

/// <summary>A question on its way: asked by one thread and answered by another, or given up.</summary>
public sealed class LedgerQuestion
{
    private readonly object _lock = new();
    private ControlReply? _reply;
    private bool _isGivenUp;

    /// <summary>One that is answered already.</summary>
    public static LedgerQuestion Answered(ControlReply reply)
    {
        var question = new LedgerQuestion();
        question.TryAnswer(reply);
        return question;
    }

    /// <summary>The answer.</summary>
    /// <param name="limit">How long to wait.</param>
    /// <returns>Null when none has come: then it is given up.</returns>
    public ControlReply? Wait(TimeSpan limit)
    {
        var started = Stopwatch.GetTimestamp();
        lock (_lock)
        {
            while (_reply is null && limit - Stopwatch.GetElapsedTime(started) is { Ticks: > 0 } left)
                Monitor.Wait(_lock, left);
            _isGivenUp = _reply is null;
            return _reply;
        }
    }

    /// <summary>Answers it.</summary>
    /// <returns>False when nobody waits for the answer any more.</returns>
    internal bool TryAnswer(ControlReply reply)
    {
        lock (_lock)
        {
            if (_isGivenUp)
                return false;
            _reply ??= reply;
            Monitor.PulseAll(_lock);
            return true;
        }
    }
}
