using System.Text.Json;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Indexing;

namespace BitmapLedger.Ledger.Verifying;

/// <summary>The decision state as it is walked: which of its members an event changes.</summary>
internal sealed class StateWalk : IProjectionWalk
{
    private readonly VolumeState _stored;
    private VolumeState _state;

    private StateWalk(VolumeState state, VolumeState stored)
    {
        _state = state;
        _stored = stored;
    }

    /// <summary>Begins behind an event, folded from the commands before.</summary>
    /// <param name="look">The history.</param>
    /// <param name="stored">The state that is stored.</param>
    /// <param name="after">The event.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public static async Task<StateWalk> BeginAsync(
        HistorySnapshot look, VolumeState stored, long after, CancellationToken cancellation)
    {
        var state = new VolumeState { Id = look.VolumeId };
        await foreach (var row in look.CommandsAsync(0, after, cancellation))
            state = state.Apply(row.Data(), row.Number, row.Time);
        var lsn = (await look.HeadsAsync([after + 1], cancellation)) is [var next] ? next.FirstLsn - 1 : stored.LastLsn;
        return new(state with { Event = after, LastLsn = lsn }, stored);
    }

    /// <inheritdoc />
    public Task<ProjectionStep> StepAsync(
        ProjectionStep step, IVolumeEvent happened, long number, DateTimeOffset time, CancellationToken cancellation)
    {
        var before = Members(_state);
        _state = _state.Apply(happened, number, time);
        var after = Members(_state);
        List<MemberStep> changed =
        [
            .. before.Keys.Union(after.Keys).Where(m => Text(before, m) != Text(after, m)).Select(
                m => new MemberStep(m, Value(before, m), Value(after, m))),
        ];
        var same = number == _stored.Event ? Said(_state) == Said(_stored) ? "same" : "different" : null;
        return Task.FromResult(step with { Members = changed, Stored = same });
    }

    /// <inheritdoc />
    public void Dispose()
    {
    }

    private static Dictionary<string, JsonElement> Members(VolumeState state) =>
        JsonSerializer.SerializeToElement(state, UnionNodes.StateJson).EnumerateObject().ToDictionary(m => m.Name, m => m.Value);

    private static string Said(VolumeState state) => JsonSerializer.Serialize(state, UnionNodes.StateJson);

    private static string? Text(Dictionary<string, JsonElement> members, string name) => Value(members, name)?.GetRawText();

    private static JsonElement? Value(Dictionary<string, JsonElement> members, string name) =>
        members.TryGetValue(name, out var value) ? value : null;
}
