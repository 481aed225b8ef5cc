using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Ledger.Retaining;

/// <summary>Two ages, as they were asked for.</summary>
/// <param name="Exact">Single writes are kept up to this age.</param>
/// <param name="Coalesced">Older ones are kept coalesced up to this age.</param>
/// <param name="ExactText">As it was written.</param>
/// <param name="CoalescedText">As it was written.</param>
internal sealed record RetentionAges(TimeSpan Exact, TimeSpan Coalesced, string ExactText, string CoalescedText)
{
    /// <summary>Reads them.</summary>
    /// <exception cref="LedgerException">One is missing or no age, or the second is the smaller one.</exception>
    public static RetentionAges Of(string? exact, string? coalesced)
    {
        var ages = new RetentionAges(Read("exact", exact), Read("coalesced", coalesced), exact!, coalesced!);
        return ages.Exact <= ages.Coalesced ? ages : throw new LedgerException(
            ErrorCode.BadArgument, $"coalesced history of '{coalesced}' is less than exact history of '{exact}'",
            "coalesced says from which age on nothing is kept");
    }

    /// <summary>The instant that long before another.</summary>
    public static DateTimeOffset Before(DateTimeOffset now, TimeSpan age) =>
        age < now - DateTimeOffset.UnixEpoch ? now - age : DateTimeOffset.UnixEpoch;

    private static TimeSpan Read(string name, string? text) => text is null
        ? throw new LedgerException(ErrorCode.BadArgument, $"'{name}' is missing", """write {"exact": "30d", "coalesced": "1y"}""")
        : Age.TryParse(text, out var fault) ?? throw new LedgerException(ErrorCode.BadArgument, fault);
}
