using BitmapLedger.Bench;

var rounds = 5;
var seconds = 4;
var only = "";
for (var i = 0; i + 1 < args.Length; i += 2)
{
    switch (args[i])
    {
        case "--rounds": rounds = int.Parse(args[i + 1]); break;
        case "--seconds": seconds = int.Parse(args[i + 1]); break;
        case "--only" when args[i + 1] is "qemu" or "shipping" or "start": only = args[i + 1]; break;
        default:
            await Console.Error.WriteLineAsync($"unknown option '{args[i]}'; there are --rounds N, --seconds N and --only qemu|shipping|start");
            return 64;
    }
}

Console.WriteLine("| what | ours | peer | ratio | floor |");
Console.WriteLine("|---|---|---|---|---|");
if (only is "" or "qemu")
    foreach (var depth in new[] { 32, 1 })
        Console.WriteLine(await AgainstQemu.RunAsync(depth, rounds, seconds));
if (only is "" or "shipping")
    foreach (var row in await Shipping.RunAsync(rounds))
        Console.WriteLine(row);
if (only is "" or "start")
    Console.WriteLine(await ColdStart.RunAsync(rounds));
return 0;
