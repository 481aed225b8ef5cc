using BitmapLedger.Cli;

return await new CommandLine().RunAsync(args);
