namespace BitmapLedger.Qmp.Json;

/// <summary>What a stretch of input was recognised as.</summary>
internal enum TokenKind : byte
{
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Colon,
    Comma,
    Integer,
    Float,
    Keyword,
    Text,

    /// <summary>No token begins or goes on like this.</summary>
    Stray,

    /// <summary>Longer than any token may be.</summary>
    TooLong,
}
