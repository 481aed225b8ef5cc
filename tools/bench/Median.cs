namespace BitmapLedger.Bench;

/// <summary>What several rounds of one measurement came to; the median is the number to quote.</summary>
internal readonly record struct Median(double Middle, double Least, double Most)
{
    public static Median Of(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return new(sorted[sorted.Length / 2], sorted[0], sorted[^1]);
    }

    public string Show(string format) =>
        $"{Middle.ToString(format)} ({Least.ToString(format)}..{Most.ToString(format)})";
}
