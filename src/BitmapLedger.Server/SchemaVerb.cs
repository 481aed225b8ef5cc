using System.Text.Json;
using BitmapLedger.Contracts;
using BitmapLedger.Ledger.Storing;
using Marten;

namespace BitmapLedger.Server;

/// <summary><c>bml db status|apply|dump</c>.</summary>
internal static class SchemaVerb
{
    public static async Task<int> RunAsync(ServerOptions options)
    {
        // Marten remarks on projections that nobody runs here; results have stdout to themselves.
        var results = Console.Out;
        Console.SetOut(Console.Error);
        await using var source = LedgerRegistration.DataSource(options.Database);
        await using var store = DocumentStore.For(o => LedgerRegistration.Configure(o, source));
        var schema = new LedgerSchema(store, source);
        switch (options.Verb)
        {
            case "dump":
                var text = schema.Dump();
                if (options.Output is null)
                    await results.WriteAsync(text);
                else
                    await File.WriteAllTextAsync(options.Output, text);
                return ExitCode.Ok;
            default:
                var status = options.Verb == "apply"
                    ? await schema.ApplyAsync(CancellationToken.None)
                    : await schema.StatusAsync(CancellationToken.None);
                await results.WriteLineAsync(JsonSerializer.Serialize(status, ApiJson.Wire.SchemaAnswer));
                return status.Current ? ExitCode.Ok : ExitCode.No;
        }
    }
}
