namespace BitmapLedger.Qmp.Json;

/// <summary>A token of a message, as a place in its bytes.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Start">First byte.</param>
/// <param name="Length">Bytes.</param>
internal readonly record struct Token(TokenKind Kind, int Start, int Length);
