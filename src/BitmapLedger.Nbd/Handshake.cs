using System.Buffers.Binary;
using System.Text;

namespace BitmapLedger.Nbd;

/// <summary>Where a handshake stands.</summary>
public enum HandshakeState
{
    /// <summary>The client has more to say.</summary>
    Talking,

    /// <summary>An export is chosen; requests follow.</summary>
    Transmission,

    /// <summary>Send what is left and close.</summary>
    Close,
}

/// <summary>The server's end of the fixed newstyle handshake: bytes in, bytes out, no I/O but what a maker of contexts does.
/// One thread; contexts go when it is disposed.</summary>
/// <param name="exports">What is offered.</param>
/// <param name="maker">Makes contexts that no export has by itself; null for none.</param>
public sealed class Handshake(IExportSource exports, IContextMaker? maker) : IDisposable
{
    private const ushort FixedNewstyleNoZeroes = 3;
    private const int OptionHeaderBytes = 16;
    private bool _flagsRead;
    private bool _noZeroes;
    private long _consuming;
    private IExport? _contextsOf;

    /// <summary>The chosen export, once transmission begins.</summary>
    public IExport? Export { get; private set; }

    /// <summary>Whether structured replies were agreed.</summary>
    public bool StructuredReplies { get; private set; }

    /// <summary>The chosen contexts with their ids.</summary>
    public IReadOnlyList<(uint Id, IMetaContext Context)> Contexts { get; private set; } = [];

    /// <summary>What the server says first.</summary>
    public static void Greet(ReplyBuffer output)
    {
        var greeting = output.Take(18);
        BinaryPrimitives.WriteUInt64BigEndian(greeting, NbdMagic.Server);
        BinaryPrimitives.WriteUInt64BigEndian(greeting[8..], NbdMagic.Option);
        BinaryPrimitives.WriteUInt16BigEndian(greeting[16..], FixedNewstyleNoZeroes);
    }

    /// <summary>Handles what is complete in <paramref name="input"/>.</summary>
    /// <param name="input">Everything received and not consumed yet.</param>
    /// <param name="consumed">How much of it is done with.</param>
    /// <param name="output">Receives the answers.</param>
    public HandshakeState Advance(ReadOnlySpan<byte> input, out int consumed, ReplyBuffer output)
    {
        consumed = 0;
        if (!_flagsRead)
        {
            if (!BinaryPrimitives.TryReadUInt32BigEndian(input, out var flags))
                return HandshakeState.Talking;
            if ((flags & ~(uint)FixedNewstyleNoZeroes) != 0)
                return HandshakeState.Close;
            _noZeroes = (flags & 2) != 0;
            _flagsRead = true;
            consumed = 4;
        }

        while (true)
        {
            var skipped = (int)Math.Min(_consuming, input.Length - consumed);
            _consuming -= skipped;
            consumed += skipped;
            var rest = input[consumed..];
            if (rest.Length < OptionHeaderBytes)
                return HandshakeState.Talking;
            var length = BinaryPrimitives.ReadUInt32BigEndian(rest[12..]);
            if (BinaryPrimitives.ReadUInt64BigEndian(rest) != NbdMagic.Option || length > NbdLimits.OptionBytesMax)
                return HandshakeState.Close;
            var option = (NbdOption)BinaryPrimitives.ReadUInt32BigEndian(rest[8..]);
            if (length > NbdLimits.OptionBytesRead)
            {
                Reply(output, option, NbdOptionReply.ErrorTooBig, $"option of {length} bytes is too big");
                _consuming = length;
                consumed += OptionHeaderBytes;
                continue;
            }

            if (rest.Length - OptionHeaderBytes < length)
                return HandshakeState.Talking;
            consumed += OptionHeaderBytes + (int)length;
            var state = Answer(option, rest.Slice(OptionHeaderBytes, (int)length), output);
            if (state != HandshakeState.Talking)
                return state;
        }
    }

    /// <inheritdoc />
    public void Dispose() => Forget();

    private HandshakeState Answer(NbdOption option, ReadOnlySpan<byte> data, ReplyBuffer output)
    {
        switch (option)
        {
            case NbdOption.ExportName:
                return ChooseByName(data, output);
            case NbdOption.Abort:
                Reply(output, option, NbdOptionReply.Ack);
                return HandshakeState.Close;
            case NbdOption.List:
                List(data, output);
                return HandshakeState.Talking;
            case NbdOption.Info or NbdOption.Go:
                return Inform(option, data, output);
            case NbdOption.StructuredReply:
                AgreeOnStructuredReplies(data, output);
                return HandshakeState.Talking;
            case NbdOption.ListMetaContext or NbdOption.SetMetaContext:
                Negotiate(option, data, output);
                return HandshakeState.Talking;
            case NbdOption.StartTls:
                Reply(output, option, NbdOptionReply.ErrorPolicy, "TLS not configured");
                return HandshakeState.Talking;
            default:
                Reply(
                    output, option, NbdOptionReply.ErrorUnsupported, $"Unsupported option {(uint)option} (<unknown>)");
                return HandshakeState.Talking;
        }
    }

    private HandshakeState ChooseByName(ReadOnlySpan<byte> name, ReplyBuffer output)
    {
        if (exports.Find(Encoding.UTF8.GetString(name)) is not { } export)
            return HandshakeState.Close;
        var answer = output.Take(_noZeroes ? 10 : 134);
        answer.Clear();
        BinaryPrimitives.WriteInt64BigEndian(answer, export.Size);
        BinaryPrimitives.WriteUInt16BigEndian(answer[8..], (ushort)export.Flags(StructuredReplies));
        return Begin(export);
    }

    private void List(ReadOnlySpan<byte> data, ReplyBuffer output)
    {
        if (!data.IsEmpty)
        {
            Reply(output, NbdOption.List, NbdOptionReply.ErrorInvalid, "option 'list' has unexpected length");
            return;
        }

        foreach (var export in exports.List())
        {
            var name = Encoding.UTF8.GetBytes(export.Name);
            var length = new byte[4];
            BinaryPrimitives.WriteInt32BigEndian(length, name.Length);
            Reply(output, NbdOption.List, NbdOptionReply.Server, [.. length, .. name, .. Encoding.UTF8.GetBytes(export.Description ?? "")]);
        }

        Reply(output, NbdOption.List, NbdOptionReply.Ack);
    }

    private HandshakeState Inform(NbdOption option, ReadOnlySpan<byte> data, ReplyBuffer output)
    {
        var request = new OptionData(data);
        var whole = request.TryText(out var name) & request.TryUInt16(out var count);
        var wantsName = false;
        for (; whole && count > 0; count--)
        {
            whole = request.TryUInt16(out var code);
            wantsName |= code == 1;
        }

        if (!whole || !request.IsEmpty)
        {
            Reply(output, option, NbdOptionReply.ErrorInvalid, $"Inconsistent lengths in option {Spoken(option)}");
            return HandshakeState.Talking;
        }

        if (exports.Find(name) is not { } export)
        {
            Reply(output, option, NbdOptionReply.ErrorUnknown, $"export '{name}' not present");
            return HandshakeState.Talking;
        }

        if (wantsName)
            Reply(output, option, NbdOptionReply.Info, [0, 1, .. Encoding.UTF8.GetBytes(export.Name)]);
        if (export.Description is { } description)
            Reply(output, option, NbdOptionReply.Info, [0, 2, .. Encoding.UTF8.GetBytes(description)]);
        Span<byte> info = stackalloc byte[14];
        BinaryPrimitives.WriteUInt16BigEndian(info, 3);
        BinaryPrimitives.WriteUInt32BigEndian(info[2..], 1);
        BinaryPrimitives.WriteUInt32BigEndian(info[6..], NbdLimits.PreferredBlockBytes);
        BinaryPrimitives.WriteUInt32BigEndian(info[10..], NbdLimits.PayloadBytesMax);
        Reply(output, option, NbdOptionReply.Info, info);
        BinaryPrimitives.WriteUInt16BigEndian(info, 0);
        BinaryPrimitives.WriteInt64BigEndian(info[2..], export.Size);
        BinaryPrimitives.WriteUInt16BigEndian(info[10..], (ushort)export.Flags(StructuredReplies));
        Reply(output, option, NbdOptionReply.Info, info[..12]);
        Reply(output, option, NbdOptionReply.Ack);
        return option == NbdOption.Go ? Begin(export) : HandshakeState.Talking;
    }

    private void AgreeOnStructuredReplies(ReadOnlySpan<byte> data, ReplyBuffer output)
    {
        if (!data.IsEmpty)
            Reply(
                output, NbdOption.StructuredReply, NbdOptionReply.ErrorInvalid,
                "option 'structured reply' has unexpected length");
        else if (StructuredReplies)
            Reply(
                output, NbdOption.StructuredReply, NbdOptionReply.ErrorInvalid, "structured reply already negotiated");
        else
            Reply(output, NbdOption.StructuredReply, NbdOptionReply.Ack);
        StructuredReplies |= data.IsEmpty;
    }

    private void Negotiate(NbdOption option, ReadOnlySpan<byte> data, ReplyBuffer output)
    {
        var set = option == NbdOption.SetMetaContext;
        if (set)
            Forget();
        if (!StructuredReplies)
        {
            Reply(output, option, NbdOptionReply.ErrorInvalid,
                $"request option '{Spoken(option)}' when structured reply is not negotiated");
            return;
        }

        var request = new OptionData(data);
        var whole = request.TryText(out var name) & request.TryUInt32(out var count);
        List<string> queries = [];
        for (; whole && count > 0; count--)
        {
            whole = request.TryText(out var query);
            queries.Add(query);
        }

        if (!whole || !request.IsEmpty)
        {
            Reply(output, option, NbdOptionReply.ErrorInvalid, $"Inconsistent lengths in option {Spoken(option)}");
            return;
        }

        if (exports.Find(name) is not { } export)
        {
            Reply(output, option, NbdOptionReply.ErrorUnknown, $"export '{name}' not present");
            return;
        }

        var contexts = export.Contexts();
        var found = MetaQuery.Match(contexts, queries, forList: !set);
        if (set)
            (Contexts, _contextsOf) = ([.. found, .. Made(export, queries, (uint)contexts.Count)], export);
        foreach (var (id, context) in set ? Contexts : found)
            ReplyContext(output, option, set ? id : 0, context.Name);
        if (!set && maker is not null)
            foreach (var more in maker.List(export, queries))
                ReplyContext(output, option, 0, more);
        Reply(output, option, NbdOptionReply.Ack);
    }

    private IEnumerable<(uint Id, IMetaContext Context)> Made(IExport export, IReadOnlyList<string> queries, uint firstId) =>
        (maker?.Make(export, queries) ?? []).Select((c, i) => (firstId + (uint)i, c));

    private static void ReplyContext(ReplyBuffer output, NbdOption option, uint id, string name)
    {
        var text = Encoding.UTF8.GetBytes(name);
        var payload = new byte[4 + text.Length];
        BinaryPrimitives.WriteUInt32BigEndian(payload, id);
        text.CopyTo(payload, 4);
        Reply(output, option, NbdOptionReply.MetaContext, payload);
    }

    private void Forget()
    {
        foreach (var (_, context) in Contexts)
            (context as IDisposable)?.Dispose();
        (Contexts, _contextsOf) = ([], null);
    }

    private HandshakeState Begin(IExport export)
    {
        // Contexts of another export do not leak into this one.
        if (_contextsOf is not null && !string.Equals(_contextsOf.Name, export.Name, StringComparison.Ordinal))
            Forget();
        Export = export;
        return HandshakeState.Transmission;
    }

    private static string Spoken(NbdOption option) => option switch
    {
        NbdOption.SetMetaContext => "set meta context",
        NbdOption.ListMetaContext => "list meta context",
        NbdOption.Go => "go",
        _ => "info",
    };

    private static void Reply(ReplyBuffer output, NbdOption option, NbdOptionReply type, string text) =>
        Reply(output, option, type, Encoding.UTF8.GetBytes(text));

    private static void Reply(
        ReplyBuffer output, NbdOption option, NbdOptionReply type, ReadOnlySpan<byte> payload = default)
    {
        var header = output.Take(20);
        BinaryPrimitives.WriteUInt64BigEndian(header, NbdMagic.OptionReply);
        BinaryPrimitives.WriteUInt32BigEndian(header[8..], (uint)option);
        BinaryPrimitives.WriteUInt32BigEndian(header[12..], (uint)type);
        BinaryPrimitives.WriteInt32BigEndian(header[16..], payload.Length);
        payload.CopyTo(output.Take(payload.Length));
    }
}
