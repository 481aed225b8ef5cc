using System.Diagnostics;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests.Lockstep;

/// <summary>
/// QEMU is the model. The same random steps go to qemu-storage-daemon and to BitmapLedger, commands over QMP and writes over
/// NBD. Every reply must be equal, and so must queries and digests: in some rounds behind each step, in the others behind every
/// few. A round that fails is made as short as it can be.
/// <c>BITMAPLEDGER_LOCKSTEP_STEPS</c> wants more steps, <c>BITMAPLEDGER_LOCKSTEP_SEED</c> others, or the same again.
/// </summary>
public sealed class LockstepTests(ITestOutputHelper output)
{
    private const int StepsPerRound = 50;

    /// <summary>Rounds of a pair: what a volume has behind it, and so the costs of a command, stay as they are.</summary>
    private const int RoundsPerPair = 40;

    /// <summary>Steps between two queries; in every <see cref="RoundsPerClose"/>th round each step is followed by one.</summary>
    private const int StepsPerLook = 10;

    private const int RoundsPerClose = 8;

    /// <summary>Behind so many steps of such a round, and behind the last one of each, the digests of all bitmaps are
    /// compared.</summary>
    private const int StepsPerWhole = 10;

    private const int Lanes = 3;
    private const long Size = 1_000_448;

    private static readonly int _steps = Number("BITMAPLEDGER_LOCKSTEP_STEPS") ?? 20_000;

    [Fact]
    public async Task Whatever_is_done_qemu_and_we_answer_alike_and_hold_the_same_bits()
    {
        await using var ledger = await Ledger.StartAsync();
        var seed = Number("BITMAPLEDGER_LOCKSTEP_SEED") ?? Environment.TickCount & int.MaxValue;
        var started = Stopwatch.StartNew();

        var failures = await Task.WhenAll(Enumerable.Range(0, Lanes).Select(lane => Task.Factory.StartNew(
            () => Run(ledger, lane, seed), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));

        var text = $"{_steps} steps from seed {seed} in {started.Elapsed.TotalSeconds:0} s, {_steps / started.Elapsed.TotalSeconds:0} a second";
        output.WriteLine(text);
        Assert.True(failures.All(f => f is null), $"{text}\n{string.Join("\n\n", failures.Where(f => f is not null))}\n{ledger.Logs()}");
    }

    [Fact]
    public void A_sequence_that_fails_is_shrunk_to_the_steps_that_make_it_fail()
    {
        var steps = new StepGenerator(1).Steps(StepsPerRound);
        Step[] culprits = [steps[7], steps[8], steps[31]];

        var (least, said) = Shrinking.Least(steps, "all of them", s => culprits.All(s.Contains) ? $"{s.Count} steps" : null);

        Assert.Equal(culprits, least);
        Assert.Equal("3 steps", said);
    }

    private static string? Run(Ledger ledger, int lane, int seed)
    {
        var directory = Directory.CreateDirectory(ledger.Scratch($"q{lane}")).FullName;
        using var qemu = new QemuStorageDaemon(directory, 1 << 20);
        var rounds = (_steps + (StepsPerRound * Lanes) - 1) / (StepsPerRound * Lanes);
        for (var first = 0; first < rounds; first += RoundsPerPair)
        {
            using var pair = new Pair(ledger, qemu, directory, $"p{lane}-{first}", Size);
            for (var round = first; round < Math.Min(rounds, first + RoundsPerPair); round++)
            {
                var steps = new StepGenerator(HashCode(seed, lane, round)).Steps(StepsPerRound);
                var perLook = round % RoundsPerClose == 0 ? 1 : StepsPerLook;
                if (Try(pair, steps, perLook) is not { } parted)
                    continue;
                // Looked at step by step it mostly fails as well, and says more.
                var closely = perLook > 1 ? Try(pair, steps, 1) : parted;
                var (least, said) = Shrinking.Least(
                    steps, closely ?? parted, s => Try(pair, s, closely is null ? perLook : 1));
                return $"seed {seed}, lane {lane}, round {round}: the two sides part after\n{string.Join('\n', least)}\n{said}";
            }

            pair.Remove(ledger);
        }

        return null;
    }

    private static string? Try(Pair pair, IReadOnlyList<Step> steps, int perLook)
    {
        if (pair.Reset(Size) is { } before)
            return before;
        for (var done = 0; done < steps.Count;)
        {
            var next = steps.Skip(done).Take(perLook).ToList();
            done += next.Count;
            if (pair.Do(next, whole: done == steps.Count || (perLook == 1 && done % StepsPerWhole == 0)) is { } parted)
                return parted;
        }

        return null;
    }

    /// <summary>The same in every run, unlike .NET's.</summary>
    private static int HashCode(int seed, int lane, int round) => unchecked((((seed * 31) + lane) * 1_000_003) + round);

    private static int? Number(string variable) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), out var number) ? number : null;
}
