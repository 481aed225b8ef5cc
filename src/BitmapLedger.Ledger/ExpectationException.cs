using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;

namespace BitmapLedger.Ledger;

/// <summary>Somebody else commanded first, and the command said that it must not be so. Nothing was done; only a look at the
/// volume helps, not another try.</summary>
/// <param name="volume">Name of the volume.</param>
/// <param name="expected">The event that the command was thought out at.</param>
/// <param name="found">The last event.</param>
public sealed class ExpectationException(string volume, long expected, long found)
    : BitmapLedgerException($"Volume '{volume}' is at event {found}, and not as it was at event {expected}")
{
    /// <inheritdoc />
    public override string Code => ErrorCode.Busy;

    /// <summary>The way out.</summary>
    public static string Hint => "nothing was done; look at the volume again, and send If-Match with its event";
}
