using System.Buffers;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using BitmapLedger.Domain;
using BitmapLedger.Ledger.Indexing;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>An event that was read ahead. Valid until the next one is asked for.</summary>
/// <param name="Number">Its number.</param>
/// <param name="Time">When it happened.</param>
/// <param name="Command">The event; null for a block of writes.</param>
/// <param name="Buffer">Begins with the bytes of a block of writes.</param>
/// <param name="Length">How many they are.</param>
internal readonly record struct EventAhead(long Number, DateTimeOffset Time, IVolumeEvent? Command, byte[] Buffer, int Length)
{
    /// <summary>The bytes of a block of writes.</summary>
    public ReadOnlySpan<byte> Packed => Buffer.AsSpan(0, Length);
}

/// <summary>Reads a stream while the events before are worked on: PostgreSQL, reading and the work keep three threads
/// busy.</summary>
internal static class EventsAhead
{
    /// <summary>Events in memory: a megabyte at the usual size.</summary>
    private const int AheadMax = 8;

    /// <summary>The events after one number up to and including another.</summary>
    public static async IAsyncEnumerable<EventAhead> ReadAsync(
        HistorySnapshot look, long afterEvent, long throughEvent, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var ahead = Channel.CreateBounded<EventAhead>(new BoundedChannelOptions(AheadMax) { SingleReader = true, SingleWriter = true });
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var reading = FillAsync(look.EventsAsync(afterEvent, throughEvent, newestFirst: false, stop.Token), ahead.Writer, stop.Token);
        try
        {
            await foreach (var e in ahead.Reader.ReadAllAsync(cancellation))
            {
                yield return e;
                if (e.Command is null)
                    ArrayPool<byte>.Shared.Return(e.Buffer);
            }
        }
        finally
        {
            await stop.CancelAsync();
            await reading;
        }
    }

    private static async Task FillAsync(
        IAsyncEnumerable<EventRow> rows, ChannelWriter<EventAhead> ahead, CancellationToken cancellation)
    {
        try
        {
            await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
            await foreach (var row in rows.WithCancellation(cancellation))
                await ahead.WriteAsync(Copy(row), cancellation);
            ahead.Complete();
        }
        catch (Exception failure)
        {
            // Thrown where the events are taken; when nobody takes any more, nobody asks.
            ahead.Complete(failure);
        }
    }

    private static EventAhead Copy(EventRow row)
    {
        if (!row.IsWrites)
            return new(row.Number, row.Time, row.Detached(), [], 0);
        var buffer = ArrayPool<byte>.Shared.Rent(row.Bytes.Length);
        row.Bytes.CopyTo(buffer);
        return new(row.Number, row.Time, null, buffer, row.Bytes.Length);
    }
}
