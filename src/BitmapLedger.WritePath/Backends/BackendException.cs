using BitmapLedger.Bitmaps;

namespace BitmapLedger.WritePath.Backends;

/// <summary>A backend, or a volume on it, cannot be used.</summary>
/// <param name="code">Kebab-case code: <c>in-use</c>, <c>read-only</c>, <c>unsupported</c>, <c>failed</c> …</param>
/// <param name="message">Names the thing, the value and the way out.</param>
public sealed class BackendException(string code, string message) : BitmapLedgerException(message)
{
    /// <inheritdoc />
    public override string Code { get; } = code;
}
