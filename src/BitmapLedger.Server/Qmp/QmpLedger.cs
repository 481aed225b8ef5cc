using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Qmp;
using BitmapLedger.Qmp.Json;
using BitmapLedger.Qmp.Schema;
using BitmapLedger.Qmp.Serving;
using Wolverine;

namespace BitmapLedger.Server.Qmp;

/// <summary>
/// Carries QMP commands out through the ledger. While PostgreSQL is away they are refused at once; one that has begun is
/// carried through even when its client goes away. Any number of threads.
/// </summary>
internal sealed class QmpLedger(
    IServiceScopeFactory scopes, QmpActions actions, VolumeStreams streams, PostgresWatch watch, LedgerOpening opening)
{
    private readonly ConcurrentDictionary<string, bool> _running = new(StringComparer.Ordinal);

    /// <summary>Told of the slices that a command dropped: node, bitmap, and which.</summary>
    public Action<string, JsonArray> OnDropped { get; set; } = (_, _) => { };

    /// <summary>One action of its own.</summary>
    public Task<JsonNode?> OneAsync(QmpRequest request, CancellationToken cancellation) =>
        SendAsync(request, [(request.Command, request.Arguments)], isGrouped: false, cancellation);

    /// <summary>A transaction.</summary>
    public Task<JsonNode?> TransactAsync(QmpRequest request, CancellationToken cancellation) => SendAsync(
        request, [.. request.Arguments.NestedList("actions").Select(a => (a.Text("type"), a.Nested("data")))],
        request.Arguments.OptionalNested("properties")?.OptionalText("completion-mode") == "grouped", cancellation);

    /// <summary>A command that is decided by its volume's state alone.</summary>
    public Task<JsonNode?> CommandAsync(
        QmpRequest request, Func<CancellationToken, Task<VolumeAction>> read, CancellationToken cancellation) =>
        CarryOutAsync(request, async away => [await read(away)], cancellation);

    /// <summary>Asks something that needs PostgreSQL.</summary>
    /// <exception cref="QmpException">It was refused, or PostgreSQL is away.</exception>
    public async Task<JsonNode?> AskAsync(Func<CancellationToken, Task<JsonNode?>> ask, CancellationToken cancellation)
    {
        try
        {
            opening.Require();
            JsonNode? answer = null;
            await watch.WithAsync(async away => answer = await ask(away), cancellation);
            return answer;
        }
        catch (BitmapLedgerException refusal)
        {
            throw new QmpException(refusal.Message);
        }
        catch (Exception failure) when (PostgresWatch.IsOutage(failure))
        {
            throw new QmpException(PostgresWatch.Busy(failure.GetBaseException().Message).Message);
        }
    }

    /// <summary>What a command id came to.</summary>
    public Task<JsonNode?> LookUpAsync(QmpRequest request, CancellationToken cancellation) => AskAsync(async away =>
    {
        var id = request.Arguments.Text("command-id");
        if (_running.ContainsKey(id))
            return new JsonObject { ["state"] = "running" };
        if (await streams.RecordAsync(id, away) is not { } record)
            throw new QmpException($"Command '{id}' not found");
        return record.Refusal is { } refusal
            ? new JsonObject
            {
                ["state"] = "failed",
                ["reply"] = new JsonObject { ["class"] = nameof(QmpErrorClass.GenericError), ["desc"] = refusal.Message },
            }
            : new JsonObject { ["state"] = "done", ["reply"] = Show(record.Answers) ?? new JsonObject() };
    }, cancellation);

    private Task<JsonNode?> SendAsync(
        QmpRequest request, IReadOnlyList<(string Type, Arguments Data)> wanted, bool isGrouped, CancellationToken cancellation) =>
        CarryOutAsync(request, async away =>
        {
            List<VolumeAction> list = [];
            foreach (var (type, data) in wanted)
            {
                if (isGrouped && type != "abort")
                    list.Add(QmpActions.Refuse(
                        $"Action '{type}' does not support Transaction property completion-mode = grouped"));
                else
                    list.AddRange(await actions.ReadAsync(type, data, list, away));
            }

            return list;
        }, cancellation);

    private Task<JsonNode?> CarryOutAsync(
        QmpRequest request, Func<CancellationToken, Task<IReadOnlyList<VolumeAction>>> read, CancellationToken cancellation) =>
        WithIdAsync(request.CommandId, () => AskAsync(async away =>
        {
            await using var scope = scopes.CreateAsyncScope();
            var answers = await scope.ServiceProvider.GetRequiredService<Commands>().TransactAsync(
                scope.ServiceProvider.GetRequiredService<IMessageBus>(),
                $"{request.Command} {WireText.Write(request.Arguments.Members)}", () => read(away),
                new(Environment.UserName, "qmp", request.CommandId), away);
            foreach (var answer in answers.Where(a => a.DroppedSlices is not null))
                OnDropped(answer.Volume, Show(answer.DroppedSlices!));
            return Show(answers);
        }, cancellation));

    private async Task<JsonNode?> WithIdAsync(string? commandId, Func<Task<JsonNode?>> act)
    {
        if (commandId is null)
            return await act();
        _running[commandId] = true;
        try
        {
            return await act();
        }
        finally
        {
            _running.TryRemove(commandId, out _);
        }
    }

    /// <summary>What a command returns: nothing, unless it banked.</summary>
    private static JsonObject? Show(IReadOnlyList<CommandAnswer> answers)
    {
        var banked = answers.SelectMany(a => a.Slices ?? []).ToList();
        var dropped = answers.SelectMany(a => a.DroppedSlices ?? []).ToList();
        if (banked.Count + dropped.Count == 0)
            return null;
        var reply = new JsonObject();
        if (banked is [var only])
            reply["slice"] = only.Slice;
        else if (banked.Count > 1)
            reply["slices"] = Show(banked);
        if (dropped.Count > 0 || banked.Count > 0)
            reply["dropped-slices"] = Show(dropped);
        return reply;
    }

    private static JsonArray Show(IEnumerable<SliceId> slices) =>
        [.. slices.Select(s => new JsonObject { [s.Bitmap] = s.Slice })];
}
