using System.Text.Json;
using BitmapLedger.Domain;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>An event as it stands in the stream.</summary>
/// <param name="Number">Its number.</param>
/// <param name="Time">When it happened.</param>
/// <param name="Data">The event; valid until the next one is read, since its bytes are read into one buffer.</param>
public readonly record struct EventRow(long Number, DateTimeOffset Time, IVolumeEvent Data);

/// <summary>Names of event types as they stand in PostgreSQL.</summary>
internal static class EventTypes
{
    private static readonly Dictionary<string, Type> _types = typeof(IVolumeEvent).Assembly.GetTypes()
        .Where(t => t.IsClass && !t.IsAbstract && t.IsAssignableTo(typeof(IVolumeEvent))).ToDictionary(NameOf);

    /// <summary>The events of a command: all but the blocks of writes.</summary>
    public static string[] Commands { get; } = [.. _types.Keys.Where(n => n != Writes)];

    /// <summary>The name of <see cref="WritesRecorded"/>.</summary>
    public static string Writes { get; } = NameOf(typeof(WritesRecorded));

    /// <summary>The type of a name.</summary>
    public static Type Of(string name) => _types[name];

    /// <summary>The name of a type, as Marten makes it.</summary>
    public static string NameOf(Type type) => JsonNamingPolicy.SnakeCaseLower.ConvertName(type.Name);
}
