using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace BitmapLedger.Qmp.Json;

/// <summary>Makes a value of the tokens of one message, with the faults of QEMU's json-parser.c. The first fault counts.</summary>
internal ref struct ValueParser(ReadOnlySpan<Token> tokens, TokenBytes bytes)
{
    /// <summary>QEMU formats the text behind "JSON parse error, " into a buffer of 1,024 bytes.</summary>
    private const int FaultBytesMax = 1023;

    private readonly ReadOnlySpan<Token> _tokens = tokens;
    private int _at;

    /// <summary>What was wrong, or null.</summary>
    public string? Fault { get; private set; }

    /// <summary>The value; tokens behind it are not looked at, as in QEMU.</summary>
    public bool TryParse(out JsonNode? value)
    {
        value = null;
        if (_at == _tokens.Length)
            return Fail("premature EOI");
        var token = _tokens[_at];
        switch (token.Kind)
        {
            case TokenKind.LeftBrace:
                return TryParseObject(out value);
            case TokenKind.LeftBracket:
                return TryParseArray(out value);
            case TokenKind.Text:
                _at++;
                if (!TryReadText(bytes.Of(token), out var text))
                    return false;
                value = JsonValue.Create(text);
                return true;
            case TokenKind.Integer or TokenKind.Float:
                _at++;
                value = Number(token);
                return true;
            case TokenKind.Keyword:
                _at++;
                return TryReadKeyword(bytes.Of(token), out value);
            default:
                return Fail("expecting value");
        }
    }

    private bool TryParseObject(out JsonNode? value)
    {
        value = null;
        _at++;
        var members = new JsonObject();
        if (_at == _tokens.Length)
            return Fail("premature EOI");
        if (_tokens[_at].Kind == TokenKind.RightBrace)
        {
            _at++;
            value = members;
            return true;
        }

        while (true)
        {
            if (!TryParseMember(members))
                return false;
            if (!TryTake(out var token))
                return false;
            if (token.Kind == TokenKind.RightBrace)
                break;
            if (token.Kind != TokenKind.Comma)
                return Fail("expected separator in dict");
        }

        value = members;
        return true;
    }

    private bool TryParseMember(JsonObject members)
    {
        if (_at == _tokens.Length)
            return Fail("premature EOI");
        if (!TryParse(out var key) || key is not JsonValue named || !named.TryGetValue<string>(out var name))
            return Fail("key is not a string in object");
        if (!TryTake(out var token))
            return false;
        if (token.Kind != TokenKind.Colon)
            return Fail("missing : in object pair");
        if (!TryParse(out var value))
            return Fail("Missing value in dict");
        return members.TryAdd(name, value) || Fail("duplicate key");
    }

    private bool TryParseArray(out JsonNode? value)
    {
        value = null;
        _at++;
        var elements = new JsonArray();
        if (_at == _tokens.Length)
            return Fail("premature EOI");
        if (_tokens[_at].Kind == TokenKind.RightBracket)
        {
            _at++;
            value = elements;
            return true;
        }

        while (true)
        {
            if (!TryParse(out var element))
                return Fail("expecting value");
            elements.Add(element);
            if (!TryTake(out var token))
                return false;
            if (token.Kind == TokenKind.RightBracket)
                break;
            if (token.Kind != TokenKind.Comma)
                return Fail("expected separator in list");
        }

        value = elements;
        return true;
    }

    private bool TryTake(out Token token)
    {
        token = default;
        if (_at == _tokens.Length)
            return Fail("premature EOI");
        token = _tokens[_at++];
        return true;
    }

    private bool Fail(string text)
    {
        Fault ??= "JSON parse error, " + (text.Length > FaultBytesMax ? text[..FaultBytesMax] : text);
        return false;
    }

    private bool TryReadKeyword(ReadOnlySpan<byte> word, out JsonNode? value)
    {
        value = word.SequenceEqual("true"u8) ? JsonValue.Create(true)
            : word.SequenceEqual("false"u8) ? JsonValue.Create(false)
            : null;
        return value is not null || word.SequenceEqual("null"u8) || Fail($"invalid keyword '{Encoding.ASCII.GetString(word)}'");
    }

    private readonly JsonValue Number(Token token)
    {
        var text = Encoding.ASCII.GetString(bytes.Of(token));
        if (token.Kind == TokenKind.Integer && long.TryParse(text, CultureInfo.InvariantCulture, out var signed))
            return JsonValue.Create(signed);
        if (token.Kind == TokenKind.Integer && ulong.TryParse(text, CultureInfo.InvariantCulture, out var unsigned))
            return JsonValue.Create(unsigned);
        return JsonValue.Create(double.Parse(text, CultureInfo.InvariantCulture));
    }

    private bool TryReadText(ReadOnlySpan<byte> quoted, out string text)
    {
        text = "";
        var read = new StringBuilder(quoted.Length);
        for (var rest = quoted[1..^1]; !rest.IsEmpty;)
        {
            var plain = rest.IndexOfAnyExceptInRange((byte)0x20, (byte)0x7F) is var end and >= 0 ? rest[..end] : rest;
            if (plain.IndexOf((byte)'\\') is var escape and >= 0)
                plain = plain[..escape];
            read.Append(Encoding.ASCII.GetString(plain));
            rest = rest[plain.Length..];
            if (rest.IsEmpty)
                break;
            var codePoint = rest[0] == '\\' ? ReadEscape(ref rest, quoted[^1]) : ReadCharacter(ref rest);
            if (codePoint < 0)
                return false;
            read.Append(char.ConvertFromUtf32(codePoint));
        }

        text = read.ToString();
        return true;
    }

    private int ReadCharacter(ref ReadOnlySpan<byte> rest)
    {
        var codePoint = Utf8Text.Read(rest, out var length);
        if (codePoint < 0)
            Fail("invalid UTF-8 sequence in string");
        else
            rest = rest[length..];
        return codePoint;
    }

    private int ReadEscape(ref ReadOnlySpan<byte> rest, byte quote)
    {
        var beginning = rest;
        var escaped = (char)rest[1];
        rest = rest[2..];
        if (escaped != 'u')
        {
            var index = "\"'\\/bfnrt".IndexOf(escaped, StringComparison.Ordinal);
            if (index < 0)
                Fail("invalid escape sequence in string");
            return index < 0 ? -1 : "\"'\\/\b\f\n\r\t"[index];
        }

        var codePoint = Hexadecimal(rest);
        rest = rest[Math.Min(4, rest.Length)..];
        if (codePoint is >= 0xD800 and <= 0xDBFF && rest.StartsWith("\\u"u8))
        {
            var trailing = Hexadecimal(rest[2..]);
            codePoint = trailing is >= 0xDC00 and <= 0xDFFF ? 0x10000 + ((codePoint & 0x3FF) << 10) + (trailing & 0x3FF) : -1;
            if (codePoint >= 0)
                rest = rest[6..];
        }

        if (Utf8Text.IsCharacter(codePoint))
            return codePoint;
        // QEMU prints the six bytes from the backslash on, the closing quote included when it is among them.
        var shown = Utf8Text.Show(beginning[..Math.Min(6, beginning.Length)]);
        Fail($"{shown}{(beginning.Length < 6 ? (char)quote : "")} is not a valid Unicode character");
        return -1;
    }

    private static int Hexadecimal(ReadOnlySpan<byte> digits) =>
        digits.Length >= 4 && ushort.TryParse(digits[..4], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value)
            ? value
            : -1;
}
