namespace BitmapLedger.Qmp.Json;

/// <summary>
/// Reads JSON values out of a byte stream as QEMU's json-streamer.c does: several in one packet, one over many packets,
/// a fault answered and the stream read on. A message is handed over when its brackets balance; until then only its
/// bytes are kept. One thread.
/// </summary>
/// <param name="share">What it may hold.</param>
public sealed class JsonStream(MessageShare share) : IDisposable
{
    /// <summary>MAX_TOKEN_COUNT of QEMU's json-streamer.c.</summary>
    private const int TokensMax = 2 << 20;

    /// <summary>MAX_NESTING of QEMU's json-streamer.c; it also bounds the depth of our recursion.</summary>
    private const int NestingMax = 1 << 10;

    private const string TooLong = "JSON token size limit exceeded";
    private const int TokensFree = 1024;
    private const int BytesPerToken = 12;

    /// <summary>A message that holds more is large; the values that are made of a smaller one take a few mebibytes.</summary>
    private const int BytesLarge = 256 << 10;

    private readonly TokenBytes _bytes = new(share);
    private Token[] _tokens = new Token[16];
    private Lexer? _lexer;
    private int _count;
    private int _braces;
    private int _brackets;
    private string? _fault;

    /// <summary>Whether the message that is whole is a large one: its values take several times its bytes, and those may be too
    /// many.</summary>
    public bool IsLarge => _fault is null && share.Held > BytesLarge;

    /// <summary>Takes bytes in and gives the messages that end in them, in order.</summary>
    /// <param name="received">What was received.</param>
    /// <param name="messages">They are added here.</param>
    public void Feed(ReadOnlySpan<byte> received, ICollection<JsonInput> messages)
    {
        while (Next(ref received) is { } message)
            messages.Add(message);
    }

    /// <summary>Takes in bytes up to the end of the first message in them.</summary>
    /// <param name="received">What was received; what is read is cut off.</param>
    /// <returns>Null when no message ends in them.</returns>
    public JsonInput? Next(ref ReadOnlySpan<byte> received) => TryEnd(ref received) ? Read() : null;

    /// <summary>Takes in bytes up to the end of the first message in them, which is to be read before more are taken in.</summary>
    /// <param name="received">What was received; what is read is cut off.</param>
    /// <returns>Whether a message is whole.</returns>
    public bool TryEnd(ref ReadOnlySpan<byte> received)
    {
        _lexer ??= new(_bytes);
        while (_lexer.Next(ref received) is { } kind)
            if (IsEnd(kind))
                return true;
        return false;
    }

    /// <summary>The message that is whole, or what was wrong with it; its bytes are let go.</summary>
    public JsonInput Read()
    {
        if (!share.TryKeep())
            Fault(TooLong);
        if (_fault is { } fault)
        {
            _fault = null;
            return new(Value: null, fault);
        }

        var parser = new ValueParser(_tokens.AsSpan(0, _count), _bytes);
        var read = parser.TryParse(out var value);
        Clear();
        return new(read ? value : null, parser.Fault);
    }

    /// <inheritdoc />
    public void Dispose() => Clear();

    private bool IsEnd(TokenKind kind)
    {
        switch (kind)
        {
            case TokenKind.Stray:
                return Fault($"JSON parse error, stray '{Utf8Text.Show(_bytes.GrowingBytes)}'");
            case TokenKind.LeftBrace:
                _braces++;
                break;
            case TokenKind.RightBrace:
                _braces--;
                break;
            case TokenKind.LeftBracket:
                _brackets++;
                break;
            case TokenKind.RightBracket:
                _brackets--;
                break;
        }

        if (kind == TokenKind.TooLong || _bytes.Total + _bytes.Growing + 1 > TokenBytes.BytesMax)
            return Fault(TooLong);
        if (_count + 1 > TokensMax || !HasRoom())
            return Fault("JSON token count limit exceeded");
        if (_braces + _brackets > NestingMax)
            return Fault("JSON nesting depth limit exceeded");
        _tokens[_count++] = _bytes.Take(kind);
        return (_braces <= 0 && _brackets <= 0) || _braces < 0 || _brackets < 0;
    }

    private bool Fault(string text)
    {
        Clear();
        _fault = text;
        return true;
    }

    private void Clear()
    {
        _bytes.Clear();
        (_count, _braces, _brackets) = (0, 0, 0);
        if (_tokens.Length <= TokensFree)
            return;
        share.Give((long)_tokens.Length * BytesPerToken);
        _tokens = new Token[16];
    }

    private bool HasRoom()
    {
        if (_count < _tokens.Length)
            return true;
        var grown = _tokens.Length * 2;
        if (grown > TokensFree && !share.TryTake((long)grown * BytesPerToken))
            return false;
        if (_tokens.Length > TokensFree)
            share.Give((long)_tokens.Length * BytesPerToken);
        Array.Resize(ref _tokens, grown);
        return true;
    }
}
