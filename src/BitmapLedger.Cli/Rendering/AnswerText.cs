using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Cli.Rendering;

/// <summary>Answers as people read them.</summary>
internal static class AnswerText
{
    public static TextTable Volumes(IReadOnlyList<VolumeAnswer> volumes)
    {
        var table = new TextTable("NAME", "SIZE", "STATE", "LSN", "SHIPPED", "BITMAPS", "CHECKPOINTS", "BACKEND");
        foreach (var v in volumes)
            table.Add(
                v.Name, ByteSize.Show(v.Size), v.State, $"{v.Lsn.Last}", $"{v.Lsn.Shipped}", $"{v.Bitmaps.Count}", $"{v.Checkpoints.Count}", v.Backend);
        return table;
    }

    public static void Volume(TextWriter output, VolumeAnswer v)
    {
        output.WriteLine($"name        {v.Name}\nsize        {ByteSize.Show(v.Size)} ({v.Size})\nbackend     {v.Backend}");
        output.WriteLine($"export      {v.Export ?? "-"}\nstate       {v.State}{(v.ReadOnly ? ", read-only" : "")}");
        output.WriteLine($"durability  {v.Durability}, when full {v.WhenFull}");
        output.WriteLine($"lsn         {v.Lsn.Last}, shipped {v.Lsn.Shipped}, {ByteSize.Show(v.UnshippedBytes)} waiting");
        foreach (var b in v.Bitmaps)
        {
            var mode = (b.Recording ? "recording" : "disabled") + (b.Persistent ? "" : "  transient");
            var slices = b.Retention is { } most ? $"  {b.Slices} of {most} slices, {(b.Overflow == "cycle" ? "cycling" : "then full")}" : "";
            output.WriteLine($"bitmap      {TextTable.Visible(b.Name)}  {ByteSize.Show(b.Granularity)}  {mode}{slices}");
        }

        foreach (var c in v.Checkpoints)
            output.WriteLine($"checkpoint  {c.Name}  lsn {c.At.Lsn}  {c.At.Time}");
    }

    public static TextTable Bitmaps(IReadOnlyList<BitmapAnswer> bitmaps)
    {
        var table = new TextTable("NAME", "GRANULARITY", "RECORDING", "PERSISTENT", "DIRTY", "SHA256");
        foreach (var b in bitmaps)
            table.Add(
                b.Name, ByteSize.Show(b.Granularity), b.Recording ? "yes" : "no", b.Persistent ? "yes" : "no", ByteSize.Show(b.Count), b.Sha256);
        return table;
    }

    public static TextTable Checkpoints(CheckpointsAnswer answer)
    {
        var table = new TextTable("NAME", "PARENT", "EVENT", "LSN", "TIME", "CHANGED SINCE");
        foreach (var c in answer.Checkpoints)
            table.Add(
                c.Name, c.Parent ?? "-", $"{c.At.Event}", $"{c.At.Lsn}", c.At.Time,
                c.Count is { } bytes ? ByteSize.Show(bytes) + (c.Exact is false ? ", perhaps less" : "") : "");
        return table;
    }

    public static TextTable Slices(SlicesAnswer answer)
    {
        var table = new TextTable("SLICE", "CAUSE", "DIRTY", "FROM LSN", "TO LSN", "BANKED", "SHA256");
        foreach (var s in answer.Slices)
            table.Add($"{s.Slice}", s.Cause, ByteSize.Show(s.Count), $"{s.From.Lsn}", $"{s.To.Lsn}", s.To.Time, s.Sha256);
        return table;
    }

    public static string Banked(BankAnswer answer, string bitmap)
    {
        var dropped = answer.DroppedSlices.Count == 0 ? "" : $" ({string.Join(", ", answer.DroppedSlices.Select(d => $"slice {d.Slice}"))} had to go)";
        return $"{answer.Volume}: slice {answer.Slice} of {TextTable.Visible(bitmap)}{dropped}, event {answer.Event}, after lsn {answer.Lsn}, {answer.Time}";
    }

    public static void Changed(TextWriter output, Style style, ChangedAnswer answer)
    {
        output.WriteLine(
            $"{ByteSize.Show(answer.ChangedBytes)} of {answer.Volume} changed after lsn {answer.From.Lsn} up to lsn {answer.To.Lsn}" +
            $"{(answer.Exact ? "" : ", perhaps less")}");
        Gaps(output, answer.Gaps);
        Bits(output, style, answer.Extents, answer.Blocks, answer.Bitmap);
    }

    public static void Replay(TextWriter output, Style style, ReplayAnswer answer, bool withBits, long mapSize)
    {
        var doubt = answer.Exact ? "" : ", perhaps less is dirty";
        output.WriteLine($"{answer.Volume} at event {answer.At.Event}, lsn {answer.At.Lsn}, {answer.At.Time}{doubt}");
        Gaps(output, answer.Gaps);
        foreach (var b in answer.Bitmaps)
        {
            var mode = b.Recording ? "recording" : "disabled";
            output.WriteLine(
                $"{TextTable.Visible(b.Name)}: {ByteSize.Show(b.Count)} dirty at {ByteSize.Show(b.Granularity)}, {mode}, sha256 {b.Sha256}");
            if (mapSize > 0)
                Lines(output, DirtyMap.Lines(b.Extents ?? [], mapSize));
            else if (withBits)
                Bits(output, style, b.Extents, b.Blocks, b.Bits);
        }
    }

    public static void History(TextWriter output, Style style, HistoryAnswer answer)
    {
        var table = new TextTable("EVENT", "TIME", "TYPE", "LSN", "WRITES", "BYTES", "ACTOR", "WHAT");
        foreach (var e in answer.Events)
            table.Add(Cells(e));
        table.Print(output, style);
    }

    /// <summary>One event by itself: nobody knows yet how wide the columns of those to come are.</summary>
    public static string Event(HistoryEvent happened) => string.Join("  ", Cells(happened).Where(c => c.Length > 0));

    public static TextTable Blame(BlameAnswer answer)
    {
        var table = new TextTable("LSN", "TIME", "KIND", "OFFSET", "LENGTH", "EVENT", "CLIENT", "HELD BY");
        foreach (var w in answer.Writes)
            table.Add($"{w.Lsn}", w.Time, w.Kind, $"{w.Offset}", $"{w.Length}", $"{w.Event}", w.Client, string.Join(' ', w.HeldBy));
        return table;
    }

    public static void Verify(TextWriter output, Style style, VerifyAnswer answer)
    {
        var verdict = answer.Equal ? "equal" : $"different from event {answer.FirstDifference} on";
        output.WriteLine($"{answer.Volume} at event {answer.At.Event}, lsn {answer.At.Lsn}: {verdict}");
        var table = new TextTable("NAME", "LIVE", "PROJECTED", "REPLAYED");
        foreach (var b in answer.Bitmaps)
            table.Add(b.Name, b.Live ?? "-", b.Projected, b.Replayed);
        foreach (var s in answer.Slices ?? [])
            table.Add($"slice:{s.Bitmap}/{s.Slice}", "-", s.Projected, s.Replayed);
        table.Print(output, style);
    }

    public static void Check(TextWriter output, CheckAnswer answer)
    {
        foreach (var v in answer.Volumes)
        {
            output.WriteLine(
                $"{v.Volume}: {v.Events} events with {v.Writes} writes, {v.JournalSegments} journal segments with {v.JournalWrites}: " +
                (v.Damage.Count == 0 ? "whole" : "not found whole"));
            foreach (var damage in v.Damage)
                output.WriteLine($"  {damage}");
        }
    }

    public static void Repair(TextWriter output, RepairAnswer answer)
    {
        if (!answer.Repaired)
        {
            output.WriteLine($"{answer.Volume}: its journal is whole; nothing to repair");
            return;
        }

        foreach (var gap in answer.Damage)
            output.WriteLine(
                $"{answer.Volume}: {gap.File}, byte {gap.Byte}: {gap.Fault}; " + (gap.ToLsn == gap.FromLsn
                    ? "no record of a write is missing"
                    : $"writes after lsn {gap.FromLsn} up to {(gap.ToLsn is { } to ? $"lsn {to}" : "the end")} are lost"));
        output.WriteLine(
            $"{answer.Volume}: event {answer.Event}, goes on after lsn {answer.Lsn}; the damaged journal lies in {answer.SetAside}");
    }

    public static TextTable Projections(ProjectionsAnswer answer)
    {
        var table = new TextTable("NAME", "VERSION", "LIFECYCLE", "SEQUENCE", "BEHIND");
        foreach (var p in answer.Projections)
        {
            table.Add(p.Name, $"{p.Version}", p.Lifecycle, $"{p.Sequence}", $"{p.Behind}");
            if (p.Building is { } next)
                table.Add(p.Name, $"{next.Version}", "building", $"{next.Sequence}", $"{next.Behind}");
        }

        return table;
    }

    public static void Gaps(TextWriter output, IReadOnlyList<GapAnswer> gaps)
    {
        foreach (var gap in gaps)
            output.WriteLine(
                $"gap after lsn {gap.FromLsn} up to lsn {gap.ToLsn}: {gap.Why}{(gap.ExactFrom is { } exact ? $"; exact from {exact}" : "")}");
    }

    public static void Lines(TextWriter output, IEnumerable<string> lines)
    {
        foreach (var line in lines)
            output.WriteLine(line);
    }

    /// <summary>Bits in the form that was asked for: extents as a table, blocks a number a line, a bitmap as JSON has it.</summary>
    private static void Bits(
        TextWriter output, Style style, IEnumerable<ExtentAnswer>? extents, IEnumerable<long>? blocks, byte[]? bitmap)
    {
        if (blocks is not null)
            Lines(output, blocks.Select(b => $"{b}"));
        if (bitmap is not null)
            output.WriteLine(Convert.ToBase64String(bitmap));
        if (extents?.Any() is not true)
            return;
        var table = new TextTable("OFFSET", "LENGTH", "");
        foreach (var extent in extents)
            table.Add($"{extent.Offset}", $"{extent.Length}", ByteSize.Show(extent.Length));
        table.Print(output, style);
    }

    private static string[] Cells(HistoryEvent e) =>
    [
        $"{e.Event}", e.Time, e.Type, e.Lsn.First == e.Lsn.Last ? $"{e.Lsn.Last}" : $"{e.Lsn.First}..{e.Lsn.Last}", $"{e.Writes}",
        e.Bytes is { } bytes ? ByteSize.Show(bytes) : "", e.Actor ?? "",
        TextTable.Visible(EventWords.Of(e)),
    ];
}
