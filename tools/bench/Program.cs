using BitmapLedger.Bench;

var rounds = 5;
var seconds = 4;
var only = "";
var millions = 10;
string[] tables = ["kill", "cost", "rotations", "qemu", "shipping", "start", "history", "rebuild", "ledger"];
for (var i = 0; i < args.Length; i++)
{
    switch (args[i])
    {
        case "--rounds" when i + 1 < args.Length: rounds = int.Parse(args[++i]); break;
        case "--seconds" when i + 1 < args.Length: seconds = int.Parse(args[++i]); break;
        case "--millions" when i + 1 < args.Length: millions = int.Parse(args[++i]); break;
        case "--only" when i + 1 < args.Length && tables.Contains(args[i + 1]): only = args[++i]; break;
        case "--kill": only = "kill"; break;
        default:
            await Console.Error.WriteLineAsync(
                $"unknown option '{args[i]}'; there are --rounds N, --seconds N, --millions N, --kill and --only {string.Join('|', tables)}");
            return 64;
    }
}

if (only is "" or "kill")
    Console.WriteLine(await AfterKillTable.RunAsync() + "\n");
if (only is "" or "cost")
    Console.WriteLine(await Cost.RunAsync(rounds, seconds) + "\n");
if (only is "" or "rotations")
    Console.WriteLine(await Rotations.RunAsync() + "\n");
if (only is "" or "history")
    await History.RunAsync(rounds, millions);
if (only is "rebuild")
    await Rebuilds.RunAsync(rounds, millions);
if (only is "kill" or "cost" or "rotations" or "history" or "rebuild")
    return 0;
Console.WriteLine("| what | ours | peer | ratio | floor |");
Console.WriteLine("|---|---|---|---|---|");
if (only is "" or "qemu")
    foreach (var depth in new[] { 32, 1 })
        Console.WriteLine(await AgainstQemu.RunAsync(depth, rounds, seconds));
if (only is "" or "shipping")
    foreach (var row in await Shipping.RunAsync(rounds))
        Console.WriteLine(row);
if (only is "" or "ledger")
    foreach (var row in await LedgerFloors.RunAsync(rounds))
        Console.WriteLine(row);
if (only is "" or "start")
    Console.WriteLine(await ColdStart.RunAsync(rounds));
return 0;
