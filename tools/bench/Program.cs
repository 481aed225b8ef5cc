using BitmapLedger.Bench;

var rounds = 5;
var seconds = 4;
for (var i = 0; i + 1 < args.Length; i += 2)
{
    switch (args[i])
    {
        case "--rounds": rounds = int.Parse(args[i + 1]); break;
        case "--seconds": seconds = int.Parse(args[i + 1]); break;
        default:
            await Console.Error.WriteLineAsync($"unknown option '{args[i]}'; there are --rounds N and --seconds N");
            return 64;
    }
}

Console.WriteLine("| what | ours | peer | ratio | floor |");
Console.WriteLine("|---|---|---|---|---|");
foreach (var depth in new[] { 32, 1 })
    Console.WriteLine(await AgainstQemu.RunAsync(depth, rounds, seconds));
foreach (var row in await Shipping.RunAsync(rounds))
    Console.WriteLine(row);
Console.WriteLine(await ColdStart.RunAsync(rounds));
return 0;
