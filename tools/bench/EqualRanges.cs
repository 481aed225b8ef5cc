using BitmapLedger.Bitmaps;
using BitmapLedger.Ledger.Indexing;

namespace BitmapLedger.Bench;

/// <summary>What <c>changed</c> over three million writes takes, however long the history around them is.</summary>
internal sealed class EqualRanges
{
    private const int RangeMillions = 3;
    private const int BaseMillions = 10;

    private readonly List<(int Millions, Median Time)> _times = [];

    /// <summary>Asks about ranges all over a history that is long enough, each twice: warm is what counts.</summary>
    public async Task MeasureAsync(LongHistory history, int rounds, int millions)
    {
        if (millions < BaseMillions)
            return;
        var random = new Random(8);
        var reader = new ChangeReader(history.Index);
        var part = RangeMillions / (double)millions;
        List<double> times = [];
        for (var round = 0; round < 3 * rounds; round++)
        {
            var begin = random.NextDouble() * (1 - part);
            var (from, to) = (await history.PositionAsync(begin), await history.PositionAsync(begin + part));
            await AskAsync();
            times.Add(await LongHistory.MillisecondsAsync(AskAsync));

            async Task AskAsync() =>
                (await reader.ReadAsync(history.Volume, LongHistory.Size, Granularity.Default, from, to, CancellationToken.None)).Map.Dispose();
        }

        _times.Add((millions, Median.Of(times)));
    }

    /// <summary>A row for each longer history, against the one of 10 million.</summary>
    public IEnumerable<string> Rows() => _times.Skip(1).Select(t =>
        $"| `changed` over ranges of {RangeMillions} M writes in a history of {t.Millions} M, against one of {_times[0].Millions} M, ms " +
        $"| {t.Time.Show("0.0")} | {_times[0].Time.Show("0.0")} | {t.Time.Middle / _times[0].Time.Middle:0.00} times as long | at most 1.2 |");
}
