using System.Globalization;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>Ten short cycles in every run of the tests; <c>tools/torture</c> asks for as many as one likes.</summary>
public sealed class TortureTests
{
    private const int CyclesDefault = 10;
    private const int SeedDefault = 20_261_127;

    [Fact]
    public async Task Whatever_is_killed_at_random_moments_under_load_each_acknowledged_write_is_recorded_exactly_once()
    {
        var cycles = Number("BITMAPLEDGER_TORTURE_CYCLES", CyclesDefault);
        var seed = Number("BITMAPLEDGER_TORTURE_SEED", SeedDefault);

        await new Torture(seed, Console.Out.WriteLine).RunAsync(cycles);
    }

    private static int Number(string variable, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out var number)
            ? number
            : otherwise;
}
