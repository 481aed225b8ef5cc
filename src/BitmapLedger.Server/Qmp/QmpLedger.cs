using System.Text.Json.Nodes;
using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger;
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
    IServiceScopeFactory scopes, QmpActions actions, VolumeStreams streams, PostgresWatch watch, LedgerOpening opening, OnceOnly once)
{
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
            // Not disposed of: what is left ends later. And not linked, which would stay until the server ends.
            var leave = new CancellationTokenSource();
            await using var ending = cancellation.UnsafeRegister(static l => ((CancellationTokenSource)l!).Cancel(), leave);
            return await watch.AttendAsync(async () =>
            {
                JsonNode? answer = null;
                await watch.WithAsync(async away => answer = await ask(away), leave.Token);
                return answer;
            }, leave);
        }
        catch (BitmapLedgerException refusal)
        {
            throw new QmpException(refusal.Message, refusal);
        }
        catch (Exception failure) when (PostgresWatch.IsOutage(failure))
        {
            var busy = PostgresWatch.Busy(failure.GetBaseException().Message);
            throw new QmpException(busy.Message, busy);
        }
    }

    /// <summary>What a command id came to.</summary>
    public Task<JsonNode?> LookUpAsync(QmpRequest request, CancellationToken cancellation) => AskAsync(async away =>
    {
        var id = request.Arguments.Text("command-id");
        // Asked in this order, one that ends meanwhile is found at least once; one that has ended and is sent again has ended.
        var isRunning = once.IsUnderWay(id);
        if (await streams.RecordAsync(id, away) is not { } record)
            return isRunning ? new JsonObject { ["state"] = "running" } : throw new QmpException($"Command '{id}' not found");
        return record.Refusal is { } refusal
            ? new JsonObject
            {
                ["state"] = "failed",
                ["reply"] = new JsonObject { ["class"] = nameof(QmpErrorClass.GenericError), ["desc"] = refusal.Message },
            }
            : new JsonObject
            {
                ["state"] = "done",
                ["reply"] = Reply(record) ?? new JsonObject(),
            };
    }, cancellation);

    /// <summary>
    /// Carries out what is no command to a volume; with an id it is remembered beside those. If the server is killed before it
    /// is, the same id again is run again: there is nothing in a volume's history that it could do twice.
    /// </summary>
    public Task<JsonNode?> OnceAsync(
        QmpRequest request, Func<CancellationToken, Task<JsonNode?>> act, CancellationToken cancellation) =>
        request.CommandId is not { } id ? act(cancellation) : AskAsync(async away =>
        {
            var fingerprint = Fingerprint(request);
            using var turn = await once.TurnAsync(id, away);
            if (await streams.RecordAsync(id, away) is { } earlier)
                return Reply(earlier.Known(fingerprint));
            CommandRecord record = new() { Id = id, Fingerprint = fingerprint };
            try
            {
                record = record with { Reply = ((await act(away)) ?? new JsonObject()).ToJsonString() };
            }
            // PostgreSQL keeps no text with a zero character. What quotes one is an argument that does not fit, now and ever.
            catch (QmpException refusal) when (
                refusal.InnerException is not LedgerException { IsTransient: true } && !refusal.Message.Contains('\0'))
            {
                record = record with { Refusal = new(ErrorCode.Failed, refusal.Message, Hint: null) };
            }

            var first = await streams.AppendAsync([], Origin(request), record, away) ?? record;
            return Reply(first.Known(fingerprint));
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
        AskAsync(async away =>
        {
            await using var scope = scopes.CreateAsyncScope();
            var answers = await scope.ServiceProvider.GetRequiredService<Commands>().TransactAsync(
                scope.ServiceProvider.GetRequiredService<IMessageBus>(), Fingerprint(request), () => read(away), Origin(request), away);
            return Show(answers);
        }, cancellation);

    /// <summary>A command as it was said; nothing asks for it without an id, and it may be long.</summary>
    internal static string Fingerprint(QmpRequest request) =>
        request.CommandId is null ? "" : $"{request.Command} {WireText.Write(request.Arguments.Members)}";

    private static CommandOrigin Origin(QmpRequest request) => new(Environment.UserName, "qmp", request.CommandId);

    /// <summary>What a command with an id answered.</summary>
    private static JsonNode? Reply(CommandRecord record) =>
        record.Reply is { } reply ? JsonNode.Parse(reply) : Show(record.Answers);

    /// <summary>What a command returns: nothing, unless it banked. One that did so with several bitmaps, or more than once, says of
    /// which each slice is.</summary>
    private static JsonObject? Show(IReadOnlyList<CommandAnswer> answers)
    {
        var banked = answers.SelectMany(a => (a.Slices ?? []).Select(s => (Node: a.Volume, Slice: s))).ToList();
        var dropped = answers.SelectMany(a => (a.DroppedSlices ?? []).Select(s => (Node: a.Volume, Slice: s))).ToList();
        if (banked.Count + dropped.Count == 0)
            return null;
        if (banked.Count > 1 || banked.Concat(dropped).DistinctBy(s => (s.Node, s.Slice.Bitmap)).Count() > 1)
            return new() { ["slices"] = Show(banked), ["dropped-slices"] = Show(dropped) };
        var reply = new JsonObject { ["dropped-slices"] = Show(dropped.Select(d => d.Slice)) };
        if (banked is [var only])
            reply["slice"] = only.Slice.Slice;
        return reply;
    }

    private static JsonArray Show(IEnumerable<(string Node, SliceId Slice)> slices) =>
        [.. slices.Select(s => new JsonObject { ["node"] = s.Node, ["name"] = s.Slice.Bitmap, ["slice"] = s.Slice.Slice })];

    /// <summary>Slices as the thread shows them: <c>[{"b0": 4}]</c>.</summary>
    internal static JsonArray Show(IEnumerable<SliceId> slices) =>
        [.. slices.Select(s => new JsonObject { [s.Bitmap] = s.Slice })];
}
