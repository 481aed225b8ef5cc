using System.Diagnostics;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests.Lockstep;

/// <summary>
/// QEMU is the model. The same random steps go to qemu-storage-daemon and to BitmapLedger, commands over QMP and writes over
/// NBD; after each step replies, queries and digests must be equal. A round that fails is made as short as it can be.
/// <c>BITMAPLEDGER_LOCKSTEP_STEPS</c> wants more steps, <c>BITMAPLEDGER_LOCKSTEP_SEED</c> others, or the same again.
/// </summary>
public sealed class LockstepTests(ITestOutputHelper output)
{
    private const int StepsPerRound = 50;
    private const int Pairs = 4;
    private const long Size = 1_000_448;

    private static readonly int _steps = Number("BITMAPLEDGER_LOCKSTEP_STEPS") ?? 4_000;

    [Fact]
    public async Task Whatever_is_done_qemu_and_we_answer_alike_and_hold_the_same_bits()
    {
        await using var ledger = await Ledger.StartAsync();
        var seed = Number("BITMAPLEDGER_LOCKSTEP_SEED") ?? Environment.TickCount & int.MaxValue;
        var started = Stopwatch.StartNew();

        var failures = await Task.WhenAll(Enumerable.Range(0, Pairs).Select(p => Task.Factory.StartNew(
            () => Run(ledger, p, seed), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));

        var text = $"{_steps} steps from seed {seed} in {started.Elapsed.TotalSeconds:0} s, {_steps / started.Elapsed.TotalSeconds:0} a second";
        output.WriteLine(text);
        Assert.True(failures.All(f => f is null), $"{text}\n{string.Join("\n\n", failures.Where(f => f is not null))}\n{ledger.Logs()}");
    }

    private static string? Run(Ledger ledger, int number, int seed)
    {
        var directory = Directory.CreateDirectory(ledger.Scratch($"q{number}")).FullName;
        using var qemu = new QemuStorageDaemon(directory, 1 << 20);
        using var pair = new Pair(ledger, qemu, directory, $"p{number}", Size);
        for (var round = 0; round * StepsPerRound * Pairs < _steps; round++)
        {
            var roundSeed = HashCode(seed, number, round);
            var steps = new StepGenerator(roundSeed).Steps(StepsPerRound);
            if (Try(pair, steps) is not { } parted)
                continue;
            var (least, said) = Shrink(pair, steps, parted);
            return $"seed {seed}, pair {number}, round {round}: the two sides part after\n{string.Join('\n', least)}\n{said}";
        }

        return null;
    }

    private static string? Try(Pair pair, List<Step> steps)
    {
        if (pair.Reset(Size) is { } before)
            return before;
        foreach (var step in steps)
            if (pair.Do(step) is { } parted)
                return parted;
        return null;
    }

    /// <summary>Leaves out halves, quarters … single steps, as long as what is left still parts the two.</summary>
    private static (List<Step> Steps, string Said) Shrink(Pair pair, List<Step> steps, string said)
    {
        for (var chunk = steps.Count / 2; chunk > 0; chunk /= 2)
        {
            for (var at = 0; at + chunk <= steps.Count;)
            {
                List<Step> shorter = [.. steps.Take(at), .. steps.Skip(at + chunk)];
                if (Try(pair, shorter) is { } parted)
                    (steps, said) = (shorter, parted);
                else
                    at += chunk;
            }
        }

        return (steps, said);
    }

    /// <summary>The same in every run, unlike .NET's.</summary>
    private static int HashCode(int seed, int pair, int round) => unchecked((((seed * 31) + pair) * 1_000_003) + round);

    private static int? Number(string variable) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), out var number) ? number : null;
}
