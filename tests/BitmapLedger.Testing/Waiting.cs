using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace BitmapLedger.Testing;

/// <summary>Waiting for what has to come.</summary>
public static class Waiting
{
    /// <summary>Longer than anything takes on two busy cores.</summary>
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(3);

    private static readonly TimeSpan _look = TimeSpan.FromMilliseconds(20);

    /// <summary>Looks again and again until it holds.</summary>
    /// <exception cref="TimeoutException">It did not come to that; its text says to what.</exception>
    public static async Task UntilAsync(Func<bool> holds, [CallerArgumentExpression(nameof(holds))] string said = "")
    {
        var started = Stopwatch.StartNew();
        while (!holds())
        {
            if (started.Elapsed > _limit)
                throw new TimeoutException($"It did not come to '{said}' within {_limit}.");
            await Task.Delay(_look);
        }
    }
}
