using System.Text;
using System.Text.Json;
using BitmapLedger.Contracts.Answers;

namespace BitmapLedger.Contracts.Tests;

/// <summary>Answers as streams of lines.</summary>
public sealed class JsonLinesTests
{
    private static readonly CancellationToken _none = CancellationToken.None;
    private static readonly PositionAnswer _now = new("now", 7, 9, "2026-12-01T00:00:00.000000Z");

    [Fact]
    public async Task An_answer_that_is_written_while_it_is_made_has_the_lines_of_its_document()
    {
        ReplayAnswer replay = new("v", _now, Exact: true, [], [Bitmap("a", [new(0, 512), new(4096, 512)]), Bitmap("b", [])]);
        ChangedAnswer changed = new("v", _now, _now, 512, new(4096, 4096), Exact: false, [new(1, 2, "lost")], 1024, null, [3, 5]);

        foreach (var (answer, type, list) in (IEnumerable<(object, Type, string)>)
            [(replay, typeof(ReplayAnswer), "bitmaps"), (changed, typeof(ChangedAnswer), "blocks"), (changed, typeof(ChangedAnswer), "extents")])
        {
            using var expected = new StringWriter { NewLine = "\n" };
            JsonLines.Write(expected, JsonSerializer.Serialize(answer, type, ApiJson.Wire), list);
            using var written = new MemoryStream();

            await JsonLines.WriteAsync(written, answer, [list], _none);

            // Of an answer without the list the document comes whole before its last line.
            if (list != "extents")
                Assert.Equal(expected.ToString(), Encoding.UTF8.GetString(written.ToArray()));
            else
                Assert.Equal(2, Encoding.UTF8.GetString(written.ToArray()).Count(c => c == '\n'));
        }
    }

    // Method: each extent takes as many bytes as any other; when one is asked for, those before it must have gone out, but for a
    // buffer's worth.
    [Fact]
    public async Task The_extents_of_a_bitmap_go_out_while_they_are_read_however_many_there_are()
    {
        const int count = 1_000_000;
        const long first = 1L << 40;
        var bytesEach = JsonSerializer.Serialize(new ExtentAnswer(first, 512), ApiJson.Wire.ExtentAnswer).Length + 1;
        await using var output = new Counted();
        var behindMost = 0L;
        ReplayAnswer answer = new("v", _now, Exact: true, [], [Bitmap("b", Extents())]);

        await JsonLines.WriteAsync(output, answer, ["bitmaps"], _none);

        Assert.InRange(output.Length, (long)count * bytesEach, ((long)count * bytesEach) + 1_000);
        Assert.InRange(behindMost, 1, 64 << 10);

        IEnumerable<ExtentAnswer> Extents()
        {
            for (var i = 0L; i < count; i++)
            {
                behindMost = Math.Max(behindMost, (i * bytesEach) - output.Length);
                yield return new(first + (i * 1024), 512);
            }
        }
    }

    private static BitmapAnswer Bitmap(string name, IEnumerable<ExtentAnswer> extents) => new(
        name, 512, Recording: true, Persistent: true, Busy: false, Inconsistent: false, 1024, "digest", extents);

    /// <summary>Counts what is written.</summary>
    private sealed class Counted : Stream
    {
        private long _length;

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => _length;

        public override long Position
        {
            get => _length;
            set => throw new NotSupportedException();
        }

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => _length += count;
    }
}
