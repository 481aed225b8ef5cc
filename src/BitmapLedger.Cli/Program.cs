using System.CommandLine;
using System.Text.Json;
using BitmapLedger.Cli;
using BitmapLedger.Cli.Serving;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Hosting;

var global = new GlobalOptions();
var root = new RootCommand(
    "BitmapLedger: dirty bitmaps with their history.\n\n" +
    "Exit codes: 0 ok, 1 failed, 2 the answer is no, 3 inexact (--strict), 10 not found, 11 busy or not reachable, 12 damaged data,\n" +
    "13 history gone, 64 usage, 70 bug, 130 interrupted.");
global.AddTo(root);
root.Subcommands.Add(ServeVerb.Build(global));
root.Subcommands.Add(DemoVerb.Build());
root.Subcommands.Add(VolumeVerbs.Build(global));
root.Subcommands.Add(BitmapVerbs.Bitmap(global));
root.Subcommands.Add(BitmapVerbs.Checkpoint(global));
foreach (var verb in QueryVerbs.Build(global).Concat(OperationVerbs.Build(global)))
    root.Subcommands.Add(verb);

// Known before anything is parsed, so that a fault of parsing is told in the form that was asked for.
var asJson = args.Contains("--json") || args.Contains("--jsonl");
var parsed = root.Parse(args);
if (parsed.Errors.Count > 0)
    return Tell(ErrorCode.BadArgument, string.Join(
        "; ", parsed.Errors.Select(e => e.Message)), "bml --help shows what there is");
try
{
    return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
}
catch (CliException failure)
{
    return Tell(failure.Code, failure.Message, failure.Hint);
}
catch (HostingException failure)
{
    return Tell(failure.Code, failure.Message, hint: null);
}
catch (OperationCanceledException)
{
    return ExitCode.Interrupted;
}
catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
{
    return Tell(ErrorCode.Failed, failure.Message, hint: null);
}
catch (Exception failure)
{
    return Tell(ErrorCode.Bug, failure.ToString(), "this is a bug; please report it");
}

int Tell(string code, string message, string? hint)
{
    if (asJson)
        Console.Error.WriteLine(
            JsonSerializer.Serialize(new ErrorLine(new(code, message, hint)), ApiJson.Default.ErrorLine));
    else
        Console.Error.WriteLine(hint is null ? $"bml: {message}" : $"bml: {message}\n     {hint}");
    return ExitCode.Of(code);
}
