using System.Reflection;
using BitmapLedger.Journal;

namespace BitmapLedger.Simulation.Tests;

/// <summary>For <see cref="Mutant.EvictTooEarly"/>: tells the product's activity log that all is durable, behind its back. It
/// then evicts by its own code, and nothing else of the journal is misled.</summary>
internal static class EarlyEviction
{
    private static readonly FieldInfo _log = typeof(JournalWriter).GetField("_activity", BindingFlags.Instance | BindingFlags.NonPublic)!;
    private static readonly MethodInfo _clean = _log.FieldType.GetMethod("Clean")!;

    public static void Allow(JournalWriter journal) => _clean.Invoke(_log.GetValue(journal), [journal.LastLsn]);
}
