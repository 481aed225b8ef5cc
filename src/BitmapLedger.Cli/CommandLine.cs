using System.CommandLine;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using BitmapLedger.Cli.Rendering;
using BitmapLedger.Cli.Serving;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Hosting;

namespace BitmapLedger.Cli;

/// <summary>All verbs, how a line is read, and how a failure is told.</summary>
internal sealed class CommandLine
{
    /// <summary>A longer word is no name, point or path of anything; it would not fit into a request either.</summary>
    private const int WordBytesMax = 4096;

    private static readonly string[] _options = ["--json", "--jsonl"];

    /// <summary>A name that starts with @ is a name, not a file of arguments.</summary>
    private static readonly ParserConfiguration _grammar = new() { ResponseFileTokenReplacer = null, EnablePosixBundling = false };

    private readonly GlobalOptions _global = new();

    public CommandLine()
    {
        Root = new(
            "BitmapLedger: dirty bitmaps with their history.\n\n" +
            "Exit codes: 0 ok, 1 failed, 2 the answer is no, 3 inexact (--strict), 10 not found, 11 busy or not reachable, 12 damaged data,\n" +
            "13 history gone, 64 usage, 70 bug, 130 interrupted.");
        _global.AddTo(Root);
        Root.Subcommands.Add(ServeVerb.Build(_global));
        Root.Subcommands.Add(DemoVerb.Build());
        Root.Subcommands.Add(VolumeVerbs.Build(_global));
        Root.Subcommands.Add(BitmapVerbs.Build(_global));
        Root.Subcommands.Add(SliceVerbs.BuildRetention(_global));
        Root.Subcommands.Add(SliceVerbs.BuildSlice(_global));
        Root.Subcommands.Add(CheckpointVerbs.Build(_global));
        foreach (var verb in QueryVerbs.Build(_global).Concat(OperationVerbs.Build(_global)))
            Root.Subcommands.Add(verb);
    }

    public RootCommand Root { get; }

    /// <summary>Reads a line without doing what it says.</summary>
    public ParseResult Parse(params IReadOnlyList<string> arguments)
    {
        var parsed = Root.Parse(arguments, _grammar);
        // A verb below another has arguments of its own: its help must not show those of the verb above as well.
        foreach (var above in parsed.CommandResult.Command.Parents.OfType<Command>())
            foreach (var argument in above.Arguments)
                argument.Hidden = true;
        return parsed;
    }

    /// <summary>Does what a line says.</summary>
    /// <returns>The exit code.</returns>
    public async Task<int> RunAsync(params IReadOnlyList<string> arguments)
    {
        // Known before anything is parsed, so that a fault of parsing is told in the form that was asked for.
        var asJson = arguments.TakeWhile(a => a != "--").Intersect(_options, StringComparer.Ordinal).Any();
        var (code, failure) = await TryAsync(arguments);
        if (failure is null)
            return code;
        var error = Console.Error;
        if (asJson)
        {
            await error.WriteLineAsync(JsonSerializer.Serialize(new ErrorLine(failure), ApiJson.Wire.ErrorLine));
            return code;
        }

        var style = new Style(!Console.IsErrorRedirected && !arguments.Contains("--no-color"));
        await error.WriteLineAsync($"{style.Fault("bml:")} {failure.Message}{(failure.Hint is null ? "" : $"\n     {failure.Hint}")}");
        return code;
    }

    private async Task<(int ExitCode, ErrorBody? Failure)> TryAsync(IReadOnlyList<string> arguments)
    {
        try
        {
            RefuseWords(arguments);
            var parsed = Parse(arguments);
            if (parsed.Errors.Count > 0)
                return Fault(ErrorCode.BadArgument, string.Join("; ", parsed.Errors.Select(e => e.Message)), Suggestion.For(parsed));
            return (await InvokeAsync(parsed), null);
        }
        catch (CliException failure)
        {
            return Fault(failure.Code, failure.Message, failure.Hint, failure.KeptFrom);
        }
        catch (HostingException failure)
        {
            return Fault(failure.Code, failure.Message, hint: null);
        }
        catch (OperationCanceledException)
        {
            return (ExitCode.Interrupted, null);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return Fault(ErrorCode.Failed, failure.Message, hint: null);
        }
        catch (Exception failure)
        {
            return Fault(ErrorCode.Bug, failure.ToString(), "this is a bug; please report it");
        }
    }

    /// <summary>The library's own handling of signals gives a verb two seconds; <c>serve</c> ends when everything has.</summary>
    private static async Task<int> InvokeAsync(ParseResult parsed)
    {
        // Not disposed: a signal may be on its way to it on a thread of its own when the verb is done.
        var interrupted = new CancellationTokenSource();
        using var onTerm = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Interrupt);
        using var onInt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Interrupt);
        return await parsed.InvokeAsync(
            new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }, interrupted.Token);

        void Interrupt(PosixSignalContext context)
        {
            context.Cancel = true;
            interrupted.Cancel();
        }
    }

    private static (int ExitCode, ErrorBody? Failure) Fault(string code, string message, string? hint, string? keptFrom = null) =>
        (ExitCode.Of(code), new(code, message, hint, keptFrom));

    private static void RefuseWords(IReadOnlyList<string> arguments)
    {
        foreach (var word in arguments)
        {
            if (Encoding.UTF8.GetByteCount(word) is var bytes and > WordBytesMax)
                throw new CliException(
                    ErrorCode.BadArgument, $"'{word[..32]}…' has {bytes} bytes, more than any word of a command line may ({WordBytesMax})");
        }

        // .NET shows bytes that are no UTF-8 as U+FFFD, and then two names may look the same.
        if (arguments.Any(a => a.Contains('\uFFFD')) && !IsUtf8(File.ReadAllBytes("/proc/self/cmdline")))
            throw new CliException(
                ErrorCode.BadArgument, $"'{arguments.First(a => a.Contains('\uFFFD'))}' is not UTF-8", "write names in UTF-8");
    }

    private static bool IsUtf8(byte[] bytes) => System.Text.Unicode.Utf8.IsValid(bytes);
}
