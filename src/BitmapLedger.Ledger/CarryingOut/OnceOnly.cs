using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.CarryingOut;

/// <summary>Lets a command with an id act once and answer the same for ever, refusals too; what was busy or failed is no
/// answer and may be tried again.</summary>
/// <param name="streams">Keeps what ids came to.</param>
public sealed class OnceOnly(VolumeStreams streams)
{
    /// <summary>Ids share so many lanes by their digests: lanes are never given up, and ids have no end.</summary>
    private const int LanesOfIds = 1024;

    private readonly Lanes _ids = new();
    private readonly ConcurrentDictionary<string, int> _underWay = new(StringComparer.Ordinal);

    /// <summary>Whether somebody is under way with an id, or waits to be, through whatever entrance.</summary>
    /// <param name="commandId">The id.</param>
    public bool IsUnderWay(string commandId) => _underWay.ContainsKey(commandId);

    /// <summary>Waits until nobody else is under way with an id: two that say the same at once must not both act.</summary>
    /// <param name="commandId">The id.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>Ends the turn when disposed.</returns>
    public async Task<IDisposable> TurnAsync(string commandId, CancellationToken cancellation)
    {
        _underWay.AddOrUpdate(commandId, 1, (_, others) => others + 1);
        try
        {
            var lane = new Guid(BitConverter.ToUInt16(SHA256.HashData(Encoding.UTF8.GetBytes(commandId))) % LanesOfIds, 0, 0, new byte[8]);
            return new Turn(this, commandId, await _ids.TakeAsync([lane], cancellation));
        }
        catch
        {
            Leave(commandId);
            throw;
        }
    }

    /// <summary>Acts, or says again what the id came to.</summary>
    /// <param name="origin">Who commands, with the id.</param>
    /// <param name="fingerprint">What is commanded.</param>
    /// <param name="act">Carries it out, and appends the record of it with its events.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">It was refused, now or the first time.</exception>
    public async Task<IReadOnlyList<CommandAnswer>> ActAsync(
        CommandOrigin origin, string fingerprint, Func<Task<IReadOnlyList<CommandAnswer>>> act, CancellationToken cancellation)
    {
        if (origin.CommandId is not { } id)
            return await act();
        using var turn = await TurnAsync(id, cancellation);
        if (await streams.RecordAsync(id, cancellation) is { } earlier)
            return earlier.Repeat(fingerprint);
        try
        {
            return await act();
        }
        catch (LedgerException refusal) when (
            refusal.Code is ErrorCode.NotFound or ErrorCode.Exists or ErrorCode.BadArgument or ErrorCode.Unsupported
            || refusal is { Refusal: not null, IsTransient: false })
        {
            CommandRecord record = new()
            {
                Id = id,
                Fingerprint = fingerprint,
                Refusal = new Refusal(refusal.Code, refusal.Message, refusal.Hint),
            };
            if (await streams.AppendAsync([], origin, record, cancellation) is { } first)
                return first.Repeat(fingerprint);
            throw;
        }
    }

    private void Leave(string commandId)
    {
        // Somebody who comes between looks again with another number of others.
        while (_underWay.TryGetValue(commandId, out var all))
            if (all == 1 ? _underWay.TryRemove(KeyValuePair.Create(commandId, all)) : _underWay.TryUpdate(commandId, all - 1, all))
                return;
    }

    private sealed class Turn(OnceOnly of, string commandId, IDisposable lane) : IDisposable
    {
        public void Dispose()
        {
            lane.Dispose();
            of.Leave(commandId);
        }
    }
}
