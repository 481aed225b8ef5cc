using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Cli.Rendering;

/// <summary>Steps of a projection as people read them: an event, and below it what it changes.</summary>
internal static class StepText
{
    public static void Write(TextWriter output, ProjectionStep step)
    {
        var lsn = step.Lsn.First == step.Lsn.Last ? $"{step.Lsn.Last}" : $"{step.Lsn.First}..{step.Lsn.Last}";
        var stored = step.Stored is null ? "" : $"; what is stored is {(step.Stored == "same" ? "the same" : step.Stored)}";
        output.WriteLine($"event {step.Event}  {step.Time}  {step.Type}  lsn {lsn}{stored}");
        foreach (var bits in step.Bits ?? [])
            output.WriteLine($"  {Of(bits)}");
        foreach (var node in step.Nodes ?? [])
            output.WriteLine($"  {Of(node)}");
        foreach (var member in step.Members ?? [])
            output.WriteLine(TextTable.Visible(
                $"  {member.Member}: {member.Before?.GetRawText() ?? "nothing"} becomes {member.After?.GetRawText() ?? "nothing"}"));
    }

    private static string Of(BitsStep bits)
    {
        var name = TextTable.Visible(bits.Name);
        if (bits.Change == "removed")
            return $"{name}: removed, {ByteSize.Show(bits.ClearedBytes)} were dirty";
        var where = string.Join(' ', bits.Extents.Select(e => $"{e.Offset}+{e.Length}"));
        return $"{name}:{(bits.Change is null ? "" : $" {bits.Change},")} {ByteSize.Show(bits.SetBytes)} set, "
            + $"{ByteSize.Show(bits.ClearedBytes)} cleared, {ByteSize.Show(bits.Count)} dirty, sha256 {bits.Sha256}"
            + (where.Length == 0 ? "" : $", at {where}{(bits.ExtentsComplete is false ? " …" : "")}");
    }

    private static string Of(NodeStep node) =>
        $"node of events {node.First} to {node.Last}: {ByteSize.Show(node.TouchedBytes)} touched at {ByteSize.Show(node.Granularity)}, "
        + $"{node.StoredBytes} bytes{(node.Lost ? ", with a gap" : node.Inexact ? ", perhaps less" : "")}; what is stored is "
        + (node.Stored == "same" ? "the same" : node.Stored);
}
