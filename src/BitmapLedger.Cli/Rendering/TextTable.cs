namespace BitmapLedger.Cli.Rendering;

/// <summary>Columns for people: as wide as their widest cell.</summary>
internal sealed class TextTable(params IReadOnlyList<string> titles)
{
    private readonly List<IReadOnlyList<string>> _rows = [];

    public void Add(params IReadOnlyList<string> cells) => _rows.Add([.. cells.Select(Visible)]);

    public void Print(TextWriter output, Style style)
    {
        var widths = Enumerable.Range(0, titles.Count).Select(c => _rows.Select(r => r[c].Length).Append(titles[c].Length).Max()).ToArray();
        output.WriteLine(style.Title(Line(titles, widths)));
        foreach (var row in _rows)
            output.WriteLine(Line(row, widths));
    }

    /// <summary>A name may hold control characters; a terminal must not obey them.</summary>
    internal static string Visible(string cell) => cell.Any(char.IsControl)
        ? string.Concat(cell.Select(c => char.IsControl(c) ? $"\\u{(int)c:x4}" : c.ToString()))
        : cell;

    private static string Line(IReadOnlyList<string> cells, int[] widths) =>
        string.Join("  ", cells.Select((cell, c) => cell.PadRight(widths[c]))).TrimEnd();
}
