namespace BitmapLedger.Cli.Rendering;

/// <summary>Columns for people: as wide as their widest cell.</summary>
internal sealed class TextTable(params IReadOnlyList<string> titles)
{
    private readonly List<IReadOnlyList<string>> _rows = [titles];

    public void Add(params IReadOnlyList<string> cells) => _rows.Add(cells);

    public void Print()
    {
        var widths = Enumerable.Range(0, titles.Count).Select(c => _rows.Max(r => r[c].Length)).ToArray();
        foreach (var row in _rows)
            Console.Out.WriteLine(string.Join("  ", row.Select((cell, c) => cell.PadRight(widths[c]))).TrimEnd());
    }
}
