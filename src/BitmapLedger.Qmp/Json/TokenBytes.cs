namespace BitmapLedger.Qmp.Json;

/// <summary>The bytes of a message's tokens, one after the other. Grows by doubling, and takes of the share before.</summary>
/// <param name="share">What the client may hold.</param>
internal sealed class TokenBytes(MessageShare share)
{
    /// <summary>MAX_TOKEN_SIZE of QEMU's json-streamer.c, in bytes.</summary>
    public const int BytesMax = 64 << 20;

    /// <summary>What each client has for nothing.</summary>
    private const int BytesFree = 16 << 10;

    private byte[] _bytes = [];
    private int _start;

    /// <summary>Bytes of the tokens that are whole.</summary>
    public int Total => _start;

    /// <summary>Bytes of the token that grows.</summary>
    public int Growing { get; private set; }

    public ReadOnlySpan<byte> Of(Token token) => _bytes.AsSpan(token.Start, token.Length);

    /// <summary>One more byte of the token that grows; false when there is no room for it.</summary>
    public bool TryAppend(byte value)
    {
        if (_start + Growing == _bytes.Length && !TryGrow())
            return false;
        _bytes[_start + Growing++] = value;
        return true;
    }

    /// <summary>The token is whole: the next one begins behind it.</summary>
    public Token Take(TokenKind kind)
    {
        var token = new Token(kind, _start, Growing);
        _start += Growing;
        Growing = 0;
        return token;
    }

    /// <summary>What the token that grows reads so far.</summary>
    public ReadOnlySpan<byte> GrowingBytes => _bytes.AsSpan(_start, Growing);

    /// <summary>Forgets all of them.</summary>
    public void Clear()
    {
        (_start, Growing) = (0, 0);
        if (_bytes.Length <= BytesFree)
            return;
        share.Give(_bytes.Length);
        _bytes = [];
    }

    private bool TryGrow()
    {
        // One byte more than may be, so that a message over the limit is seen to be over it.
        var grown = Math.Min(Math.Max(1024, _bytes.Length * 2), BytesMax + 1);
        if (grown == _bytes.Length || (grown > BytesFree && !share.TryTake(grown)))
            return false;
        if (_bytes.Length > BytesFree)
            share.Give(_bytes.Length);
        Array.Resize(ref _bytes, grown);
        return true;
    }
}
