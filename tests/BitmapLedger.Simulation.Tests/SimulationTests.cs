using System.Globalization;

namespace BitmapLedger.Simulation.Tests;

/// <summary>
/// G1 and G2 by simulation. <c>BITMAPLEDGER_LIVES</c> says how many lives (10,000 when it does not),
/// <c>BITMAPLEDGER_FIRST_LIFE</c> with which to begin, so that many can be lived in parts, and <c>BITMAPLEDGER_SEED</c>
/// lives the one life again that a failure names.
/// </summary>
public sealed class SimulationTests(ITestOutputHelper output)
{
    private const int LivesDefault = 10_000;

    /// <summary>A mutant that has not been caught by then never is.</summary>
    private const int MutantLives = 5_000;

    public static TheoryData<Mutant> Mutants => [.. Enum.GetValues<Mutant>().Where(m => m != Mutant.None)];

    [Fact]
    public void Whatever_crashes_when_no_flushed_write_is_lost_none_is_invented_and_every_changed_block_is_told()
    {
        if (Setting("BITMAPLEDGER_SEED") is { } seed)
        {
            using var life = new Life(seed, Mutant.None);
            life.Run();
            return;
        }

        var lives = Setting("BITMAPLEDGER_LIVES") ?? LivesDefault;
        var first = Setting("BITMAPLEDGER_FIRST_LIFE") ?? 0;
        var changes = 0L;
        var failures = new List<string>();
        Parallel.For(first, first + lives, (number, state) =>
        {
            var failure = Failure(number, Mutant.None, ref changes);
            if (failure is null)
                return;
            lock (failures)
                failures.Add($"life {number}: {failure}\nonce more: BITMAPLEDGER_SEED={number}");
            state.Stop();
        });

        Assert.True(failures.Count == 0, string.Join('\n', failures));
        output.WriteLine($"{lives} lives, {changes} changes of disks");
    }

    [Theory]
    [MemberData(nameof(Mutants))]
    public void A_mistake_is_caught(Mutant mutant)
    {
        var changes = 0L;
        for (var life = 0; life < MutantLives; life++)
        {
            if (Failure(life, mutant, ref changes) is not { } caught)
                continue;
            output.WriteLine($"{mutant} is caught in life {life}: {caught}");
            return;
        }

        Assert.Fail($"{mutant} lived {MutantLives} lives unseen.");
    }

    private static string? Failure(int seed, Mutant mutant, ref long changes)
    {
        try
        {
            using var life = new Life(seed, mutant);
            Interlocked.Add(ref changes, life.Run());
            return null;
        }
        catch (Exception failure)
        {
            return failure is ViolationException ? failure.Message : failure.ToString();
        }
    }

    private static int? Setting(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : null;
}
