using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using BitmapLedger.Contracts;

namespace BitmapLedger.Server;

/// <summary>Writes an answer as lines while it is made: memory does not grow with it.</summary>
/// <param name="response">Where to.</param>
/// <param name="type">How an element is written.</param>
internal sealed class LineWriter<T>(HttpResponse response, JsonTypeInfo<T> type)
{
    /// <summary>Elements that are written.</summary>
    public int Count { get; private set; }

    /// <summary>Writes an element. What fails before the first one is still an answer of its own.</summary>
    public Task WriteAsync(T element, CancellationToken cancellation)
    {
        Count++;
        Begin();
        return response.WriteAsync(JsonSerializer.Serialize(element, type) + "\n", cancellation);
    }

    /// <summary>Sends what is written on its way.</summary>
    public Task FlushAsync(CancellationToken cancellation)
    {
        Begin();
        return response.Body.FlushAsync(cancellation);
    }

    /// <summary>Writes the last line, without which a reader knows that the answer was cut.</summary>
    /// <param name="members">Members of it behind its type.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public Task EndAsync(string members, CancellationToken cancellation)
    {
        Begin();
        return response.WriteAsync($$"""{"type":"end",{{members}}}""" + "\n", cancellation);
    }

    private void Begin()
    {
        if (!response.HasStarted)
            response.ContentType = JsonLines.ContentType;
    }
}
