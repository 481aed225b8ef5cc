using System.Buffers.Binary;
using System.Text;
using CsCheck;

namespace BitmapLedger.Nbd.Tests;

public sealed class HandshakeTests
{
    private static readonly byte[] _clientFlags = [0, 0, 0, 3];

    [Fact]
    public void The_greeting_is_qemus_byte_for_byte()
    {
        var output = new ReplyBuffer(64);

        Handshake.Greet(output);

        Assert.Equal("4E42444D4147494349484156454F50540003", Convert.ToHexString(output.Written));
    }

    [Fact]
    public void However_the_stream_is_cut_the_answers_are_the_same()
    {
        byte[] stream =
        [
            .. _clientFlags, .. Option(8), .. Option(3), .. Option(99, "junk"u8),
            .. Meta(10, "v", "base:allocation", "qemu:dirty-bitmap:b0"), .. Go("v"),
        ];
        var (whole, state, _) = Talk(stream, [stream.Length]);
        Assert.Equal(HandshakeState.Transmission, state);

        Gen.Int[1, 40].Array[1, 30].Sample(cuts =>
        {
            var (answers, ended, handshake) = Talk(stream, cuts);
            Assert.Equal(whole, answers);
            Assert.Equal(HandshakeState.Transmission, ended);
            Assert.True(handshake.StructuredReplies);
            Assert.Equal([0u, 1u], handshake.Contexts.Select(c => c.Id));
        }, iter: 200);
    }

    [Fact]
    public void Random_garbage_neither_throws_nor_begins_transmission()
    {
        Gen.Byte.Array[0, 300].Sample(garbage =>
        {
            var (_, state, _) = Talk([.. _clientFlags, .. garbage], [7, 50, 300]);
            Assert.NotEqual(HandshakeState.Transmission, state);
        }, iter: 2_000);
    }

    [Fact]
    public void Refusals_carry_the_texts_of_qemu()
    {
        byte[] stream = [.. _clientFlags, .. Meta(10, "v"), .. Option(3, "x"u8), .. Option(5), .. Go("zz"), .. Option(99)];

        var text = Encoding.UTF8.GetString(Talk(stream, [stream.Length]).Answers);

        Assert.Contains("request option 'set meta context' when structured reply is not negotiated", text, StringComparison.Ordinal);
        Assert.Contains("option 'list' has unexpected length", text, StringComparison.Ordinal);
        Assert.Contains("TLS not configured", text, StringComparison.Ordinal);
        Assert.Contains("export 'zz' not present", text, StringComparison.Ordinal);
        Assert.Contains("Unsupported option 99 (<unknown>)", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Information_on_an_export_is_laid_out_as_qemus()
    {
        byte[] stream = [.. _clientFlags, .. Go("v")];

        var hex = Convert.ToHexString(Talk(stream, [stream.Length]).Answers);

        Assert.Contains("0003" + "00000001" + "00001000" + "02000000", hex, StringComparison.Ordinal);
        Assert.Contains("0000" + "0000000004000000", hex, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(NbdCommand.Read, NbdCommandFlags.None, 0, 512, 0)]
    [InlineData(NbdCommand.Read, NbdCommandFlags.None, 64 << 20, 512, NbdErrno.Invalid)]
    [InlineData(NbdCommand.Write, NbdCommandFlags.None, 64 << 20, 512, NbdErrno.NoSpace)]
    [InlineData(NbdCommand.WriteZeroes, NbdCommandFlags.None, 1, 64 << 20, NbdErrno.NoSpace)]
    [InlineData(NbdCommand.Trim, NbdCommandFlags.None, -1, 512, NbdErrno.Invalid)]
    [InlineData(NbdCommand.Read, NbdCommandFlags.None, 0, (32 << 20) + 1, NbdErrno.Invalid)]
    [InlineData(NbdCommand.Read, NbdCommandFlags.NoHole, 0, 512, NbdErrno.Invalid)]
    [InlineData(NbdCommand.BlockStatus, NbdCommandFlags.None, 0, 0, NbdErrno.Invalid)]
    [InlineData((NbdCommand)42, NbdCommandFlags.None, 0, 512, NbdErrno.Invalid)]
    [InlineData(NbdCommand.Write, NbdCommandFlags.Fua, 64 << 20, 0, 0)]
    public void A_request_is_validated_before_it_is_handled(NbdCommand command, NbdCommandFlags flags, long offset, int length, int errno)
    {
        var request = new NbdRequest(flags, command, 1, (ulong)offset, (uint)length);

        Assert.Equal(errno, request.Refusal(64 << 20, readOnly: false, hasContexts: true, out var text));
        Assert.Equal(errno != 0, text.Length > 0);
    }

    [Fact]
    public void Writes_to_a_read_only_export_are_not_permitted()
    {
        var request = new NbdRequest(NbdCommandFlags.None, NbdCommand.Trim, 1, 0, 512);

        Assert.Equal(NbdErrno.NotPermitted, request.Refusal(1 << 20, readOnly: true, hasContexts: false, out _));
    }

    [Theory]
    [InlineData("nbd://127.0.0.1:10810/a%20b", "127.0.0.1", 10810, null, "a b")]
    [InlineData("nbd://[::1]/", "[::1]", 10809, null, "")]
    [InlineData("nbd+unix:///v?socket=/run/x%20y.sock", null, 0, "/run/x y.sock", "v")]
    public void Uris_are_read_and_written_alike(string text, string? host, int port, string? socket, string export)
    {
        var uri = NbdUri.TryParse(text, out var fault);

        Assert.Equal("", fault);
        Assert.Equal((host, port, socket, export), (uri!.Host, uri.Port, uri.Socket, uri.Export));
        Assert.Equal(uri with { Host = host?.Trim('[', ']') }, NbdUri.TryParse(uri.ToString(), out _)! with { Host = host?.Trim('[', ']') });
    }

    [Theory]
    [InlineData("http://x")]
    [InlineData("nbd+unix:///v")]
    [InlineData("nonsense")]
    public void What_is_no_uri_is_named(string text)
    {
        Assert.Null(NbdUri.TryParse(text, out var fault));
        Assert.Contains(text, fault, StringComparison.Ordinal);
    }

    private static (byte[] Answers, HandshakeState State, Handshake Handshake) Talk(byte[] stream, int[] cuts)
    {
        var handshake = new Handshake(new Exports(), maker: null);
        var output = new ReplyBuffer(64);
        int start = 0, end = 0, cut = 0;
        var state = HandshakeState.Talking;
        while (state == HandshakeState.Talking && end < stream.Length)
        {
            end = Math.Min(stream.Length, end + cuts[cut++ % cuts.Length]);
            state = handshake.Advance(stream.AsSpan(start, end - start), out var consumed, output);
            start += consumed;
        }

        return (output.Written.ToArray(), state, handshake);
    }

    private static byte[] Option(uint option, ReadOnlySpan<byte> data = default)
    {
        var bytes = new byte[16 + data.Length];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, NbdMagic.Option);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(8), option);
        BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(12), data.Length);
        data.CopyTo(bytes.AsSpan(16));
        return bytes;
    }

    private static byte[] Text(string text)
    {
        var bytes = new byte[4 + text.Length];
        BinaryPrimitives.WriteInt32BigEndian(bytes, text.Length);
        Encoding.ASCII.GetBytes(text, bytes.AsSpan(4));
        return bytes;
    }

    private static byte[] Go(string name) => Option(7, [.. Text(name), 0, 1, 0, 3]);

    private static byte[] Meta(uint option, string name, params string[] queries) =>
        Option(option, [.. Text(name), 0, 0, 0, (byte)queries.Length, .. queries.SelectMany(Text)]);

    private sealed class Exports : IExportSource
    {
        public bool HasDefault => true;

        public IReadOnlyList<IExport> List() => [new Volume()];
    }

    private sealed class Volume : IExport
    {
        public string Name => "v";

        public string? Description => null;

        public long Size => 64 << 20;

        public bool ReadOnly => false;

        public IReadOnlyList<IMetaContext> Contexts() => [new Context("base:allocation"), new Context("qemu:dirty-bitmap:b0")];
    }

    private sealed record Context(string Name) : IMetaContext
    {
        public bool TryDescribe(long offset, long length, int extentsMax, List<StatusExtent> target)
        {
            target.Add(new(length, 0));
            return true;
        }
    }
}
