using System.Text;
using System.Text.Json.Nodes;
using BitmapLedger.Qmp.Json;
using CsCheck;

namespace BitmapLedger.Qmp.Tests;

public sealed class JsonStreamTests
{
    private static readonly Gen<string> _text = Gen.Char.Where(c => !char.IsSurrogate(c) && c is not (>= '\uFDD0' and <= '\uFDEF' or >= '\uFFFE'))
        .Array[0, 12].Select(c => new string(c));

    private static readonly Gen<JsonNode?> _scalar = Gen.OneOf<JsonNode?>(
        _text.Select(t => (JsonNode?)JsonValue.Create(t)), Gen.Long.Select(n => (JsonNode?)JsonValue.Create(n)),
        Gen.Double.Where(double.IsFinite).Select(d => (JsonNode?)JsonValue.Create(d)), Gen.Bool.Select(b => (JsonNode?)JsonValue.Create(b)),
        Gen.Const((JsonNode?)null));

    private static readonly Gen<JsonNode?> _value = Gen.Recursive<JsonNode?>((depth, inner) => depth > 4 ? _scalar : Gen.OneOf(
        _scalar,
        inner.Array[0, 4].Select(e => (JsonNode?)new JsonArray([.. e.Select(n => n?.DeepClone())])),
        Gen.Select(_text, inner).Array[0, 4].Select(m => (JsonNode?)new JsonObject(
            m.DistinctBy(p => p.Item1).Select(p => KeyValuePair.Create(p.Item1, p.Item2?.DeepClone()))))));

    private static readonly string[] _pieces = ["{", "[", "\"", "}", "]", ":", ",", "\\u", "e", "-"];

    private static readonly Gen<string> _piece = Gen.Int[0, _pieces.Length - 1].Select(i => _pieces[i]);

    [Fact]
    public void What_is_written_is_read_back_as_it_was()
    {
        _value.Array[1, 3].Sample(values =>
        {
            // Blanks between: two numbers would be one.
            var text = string.Join(' ', values.Select(WireText.Write)) + " ";

            var read = Read(Encoding.ASCII.GetBytes(text), [text.Length]);

            Assert.Equal(values.Length, read.Count);
            Assert.All(read.Zip(values), pair => Assert.True(JsonNode.DeepEquals(pair.First.Value, pair.Second)));
        }, iter: 2_000);
    }

    [Fact]
    public void However_a_stream_is_cut_its_messages_are_the_same()
    {
        byte[] stream = [.. "{'a':[1,2.5e3,\"\\u00e9é\"]} [1,] nul \u0001 \"x\" 7 "u8, 0xFF, .. "\n{\"b\":{\"c\":null}}"u8];
        var whole = Shown(Read(stream, [stream.Length]));

        Gen.Int[1, 9].Array[1, 60].Sample(cuts => Assert.Equal(whole, Shown(Read(stream, cuts))), iter: 500);
        Assert.Equal(6, whole.Count);
    }

    [Fact]
    public void No_bytes_whatever_break_it_and_what_it_took_of_the_budget_it_gives_back()
    {
        Gen.Select(Gen.Byte.Array[0, 200], _piece.Array[0, 40]).Sample(input =>
        {
            var budget = new MessageBudget(1 << 20);
            using (var stream = new JsonStream(budget.Open(() => { })))
            {
                List<JsonInput> messages = [];
                stream.Feed(input.Item1, messages);
                stream.Feed(Encoding.ASCII.GetBytes(string.Concat(input.Item2)), messages);
                // Whatever went before, this gets through.
                stream.Feed([0xFF, (byte)'\n', .. "{\"x\":1}"u8], messages);
                Assert.Equal("{\"x\": 1}", WireText.Write(messages[^1].Value));
            }

            Assert.Equal(1 << 20, budget.Left);
        }, iter: 5_000);
    }

    [Fact]
    public void A_token_beyond_64_MiB_is_refused_and_the_stream_goes_on()
    {
        var budget = new MessageBudget(MessageBudget.BytesDefault);
        using var stream = new JsonStream(budget.Open(() => { }));
        List<JsonInput> messages = [];
        var block = Encoding.ASCII.GetBytes(new string('a', 1 << 20));
        stream.Feed("[\""u8, messages);
        for (var i = 0; i < 65; i++)
            stream.Feed(block, messages);

        Assert.Equal("JSON token size limit exceeded", messages[0].Fault);
        stream.Feed([0xFF, (byte)'\n', .. "[7]"u8], messages);
        Assert.Equal("[7]", WireText.Write(messages[^1].Value));
        Assert.Equal(MessageBudget.BytesDefault, budget.Left);
    }

    [Fact]
    public void Too_many_tokens_and_too_deep_a_nesting_are_refused_as_qemu_does()
    {
        using var stream = new JsonStream(new MessageBudget(MessageBudget.BytesDefault).Open(() => { }));
        List<JsonInput> messages = [];

        stream.Feed(Encoding.ASCII.GetBytes(new string('[', 1025)), messages);
        stream.Feed(Encoding.ASCII.GetBytes("[" + string.Concat(Enumerable.Repeat("1,", 1 << 20))), messages);

        Assert.Equal(["JSON nesting depth limit exceeded", "JSON token count limit exceeded"], messages.Select(m => m.Fault));
    }

    [Fact]
    public void A_client_that_wants_more_than_the_budget_has_is_refused_and_others_are_not()
    {
        var budget = new MessageBudget(1 << 20);
        using var greedy = new JsonStream(budget.Open(() => { }));
        using var modest = new JsonStream(budget.Open(() => { }));
        List<JsonInput> refused = [], served = [];

        greedy.Feed("[\""u8, refused);
        for (var i = 0; i < 3 && refused.Count == 0; i++)
            greedy.Feed(Encoding.ASCII.GetBytes(new string('a', 1 << 20)), refused);
        modest.Feed("{\"execute\":\"query-version\"}"u8, served);

        Assert.Equal("JSON token size limit exceeded", refused[0].Fault);
        Assert.Null(Assert.Single(served).Fault);
        Assert.Equal(1 << 20, budget.Left);
    }

    private static List<JsonInput> Read(ReadOnlySpan<byte> bytes, int[] cuts)
    {
        using var stream = new JsonStream(new MessageBudget(MessageBudget.BytesDefault).Open(() => { }));
        List<JsonInput> messages = [];
        for (var i = 0; !bytes.IsEmpty; i++)
        {
            var cut = Math.Min(cuts[i % cuts.Length], bytes.Length);
            stream.Feed(bytes[..cut], messages);
            bytes = bytes[cut..];
        }

        return messages;
    }

    private static List<string> Shown(List<JsonInput> messages) => [.. messages.Select(m => m.Fault ?? WireText.Write(m.Value))];
}
