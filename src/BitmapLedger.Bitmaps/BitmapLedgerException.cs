namespace BitmapLedger.Bitmaps;

/// <summary>
/// Base of every failure the product itself detects. Caught at a process boundary (NBD reply, HTTP response, CLI exit
/// code), nowhere in between.
/// </summary>
/// <param name="message">Names the thing, the value and the way out.</param>
/// <param name="inner">What caused it, if anything.</param>
public abstract class BitmapLedgerException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Stable kebab-case code, part of the public contract (spec/cli.md); never localised, never
    /// reused.</summary>
    public abstract string Code { get; }

    /// <summary>True when the same call may succeed later with nothing repaired (a busy lock, a lost
    /// connection).</summary>
    public virtual bool IsTransient => false;
}
