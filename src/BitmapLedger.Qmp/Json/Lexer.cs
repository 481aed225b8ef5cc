namespace BitmapLedger.Qmp.Json;

/// <summary>
/// Cuts a byte stream into tokens as QEMU's json-lexer.c does, extensions and recovery included: single-quoted strings,
/// lower-case words of any kind, and after a stray byte everything up to a structural character, a control character
/// other than the tabulator, or a byte that UTF-8 cannot hold is passed over.
/// </summary>
/// <param name="bytes">Takes the bytes of the token that grows.</param>
internal sealed class Lexer(TokenBytes bytes)
{
    private State _state = State.Start;

    private enum State : byte
    {
        Start,
        Recovery,
        Double,
        DoubleEscape,
        Single,
        SingleEscape,
        Sign,
        Zero,
        Digits,
        Mantissa,
        MantissaDigits,
        Exponent,
        ExponentSign,
        ExponentDigits,
        Word,
    }

    /// <summary>Reads until a token ends; null when the input ends first.</summary>
    /// <param name="input">What was received; what is read is cut off.</param>
    public TokenKind? Next(ref ReadOnlySpan<byte> input)
    {
        while (!input.IsEmpty)
        {
            if (Step(input[0], out var next, out var consumed) is not { } token)
            {
                if (consumed)
                {
                    if (!Keep(next, input[0]))
                        return Restart(TokenKind.TooLong);
                    input = input[1..];
                }

                _state = next;
                continue;
            }

            if (consumed)
            {
                if (!bytes.TryAppend(input[0]))
                    return Restart(TokenKind.TooLong);
                input = input[1..];
            }

            _state = token == TokenKind.Stray ? State.Recovery : State.Start;
            return token;
        }

        return null;
    }

    private TokenKind Restart(TokenKind token)
    {
        _state = State.Start;
        return token;
    }

    private bool Keep(State next, byte value) => next is State.Start or State.Recovery || bytes.TryAppend(value);

    /// <summary>The token that ends with, or before, this byte.</summary>
    private TokenKind? Step(byte value, out State next, out bool consumed)
    {
        consumed = true;
        next = _state;
        switch (_state)
        {
            case State.Start:
                return Begin(value, out next);
            case State.Recovery:
                if (IsPromising(value))
                    (next, consumed) = (State.Start, false);
                return null;
            case State.Double or State.Single:
                return InText(value, out next);
            case State.DoubleEscape or State.SingleEscape:
                next = _state == State.DoubleEscape ? State.Double : State.Single;
                return IsText(value) ? null : TokenKind.Stray;
            case State.Word:
                if (value is >= (byte)'a' and <= (byte)'z')
                    return null;
                consumed = false;
                return TokenKind.Keyword;
            default:
                return InNumber(value, out next, out consumed);
        }
    }

    private static TokenKind? Begin(byte value, out State next)
    {
        next = value switch
        {
            (byte)'"' => State.Double,
            (byte)'\'' => State.Single,
            (byte)'0' => State.Zero,
            >= (byte)'1' and <= (byte)'9' => State.Digits,
            (byte)'-' => State.Sign,
            >= (byte)'a' and <= (byte)'z' => State.Word,
            _ => State.Start,
        };
        if (next != State.Start || value is (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n')
            return null;
        return value switch
        {
            (byte)'{' => TokenKind.LeftBrace,
            (byte)'}' => TokenKind.RightBrace,
            (byte)'[' => TokenKind.LeftBracket,
            (byte)']' => TokenKind.RightBracket,
            (byte)',' => TokenKind.Comma,
            (byte)':' => TokenKind.Colon,
            _ => TokenKind.Stray,
        };
    }

    private TokenKind? InText(byte value, out State next)
    {
        next = _state;
        if (!IsText(value))
            return TokenKind.Stray;
        if (value == (_state == State.Double ? '"' : '\''))
            return TokenKind.Text;
        if (value == '\\')
            next = _state == State.Double ? State.DoubleEscape : State.SingleEscape;
        return null;
    }

    private TokenKind? InNumber(byte value, out State next, out bool consumed)
    {
        var isDigit = value is >= (byte)'0' and <= (byte)'9';
        consumed = true;
        next = (_state, value) switch
        {
            (State.Sign, (byte)'0') => State.Zero,
            (State.Sign or State.Digits, _) when isDigit => State.Digits,
            (State.Zero or State.Digits, (byte)'.') => State.Mantissa,
            (State.Mantissa or State.MantissaDigits, _) when isDigit => State.MantissaDigits,
            (State.Digits or State.MantissaDigits, (byte)'e' or (byte)'E') => State.Exponent,
            (State.Exponent, (byte)'-' or (byte)'+') => State.ExponentSign,
            (State.Exponent or State.ExponentSign or State.ExponentDigits, _) when isDigit => State.ExponentDigits,
            _ => State.Start,
        };
        if (next != State.Start)
            return null;
        // A zero in front of another digit is the one thing that may not follow a whole number.
        var ends = _state is State.Digits or State.MantissaDigits or State.ExponentDigits || (_state == State.Zero && !isDigit);
        consumed = !ends;
        return !ends ? TokenKind.Stray
            : _state is State.Zero or State.Digits ? TokenKind.Integer
            : TokenKind.Float;
    }

    private static bool IsText(byte value) => value is >= 0x20 and <= 0xFD;

    private static bool IsPromising(byte value) =>
        (value < 0x20 && value != '\t') || value >= 0xFE
        || value is (byte)'[' or (byte)']' or (byte)'{' or (byte)'}' or (byte)':' or (byte)',';
}
