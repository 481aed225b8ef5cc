using BitmapLedger.Bitmaps.Codecs;

namespace BitmapLedger.Bitmaps.Writes;

/// <summary>
/// One column of packed writes. Values that mostly repeat are stored as (value, run) pairs and cost next to nothing;
/// others as plain varints. Layout: FORMAT.md.
/// </summary>
internal static class WriteColumn
{
    private const byte Plain = 0;
    private const byte Runs = 1;

    public static void Write(ByteWriter target, ReadOnlySpan<ulong> values)
    {
        long plainBytes = 0, runBytes = 0;
        for (var i = 0; i < values.Length;)
        {
            var end = EndOfRun(values, i);
            plainBytes += (long)Varint.Size(values[i]) * (end - i);
            runBytes += Varint.Size(values[i]) + Varint.Size((ulong)(end - i));
            i = end;
        }

        target.Byte(runBytes < plainBytes ? Runs : Plain);
        target.Varint((ulong)Math.Min(runBytes, plainBytes));
        if (runBytes >= plainBytes)
        {
            foreach (var value in values)
                target.Varint(value);
            return;
        }

        for (var i = 0; i < values.Length;)
        {
            var end = EndOfRun(values, i);
            target.Varint(values[i]);
            target.Varint((ulong)(end - i));
            i = end;
        }
    }

    /// <summary>Reads where a column lies and moves <paramref name="position"/> behind it; its values are not looked
    /// at.</summary>
    public static bool TryReadHeader(ReadOnlySpan<byte> source, ref int position, out Cursor column)
    {
        column = default;
        if ((uint)position >= (uint)source.Length || source[position] > Runs)
            return false;
        var runs = source[position++] == Runs;
        if (!Varint.TryRead(source, ref position, out var bytes) || bytes > (ulong)(source.Length - position))
            return false;
        column = new Cursor(runs, position);
        position += (int)bytes;
        return true;
    }

    private static int EndOfRun(ReadOnlySpan<ulong> values, int start)
    {
        var end = start + 1;
        while (end < values.Length && values[end] == values[start])
            end++;
        return end;
    }

    /// <summary>Where reading of a column stands.</summary>
    internal struct Cursor(bool runs, int position)
    {
        private int _position = position;
        private ulong _value;
        private ulong _left;

        public readonly int Position => _position;

        public bool TryNext(ReadOnlySpan<byte> source, out ulong value)
        {
            if (runs && _left > 0)
            {
                _left--;
                value = _value;
                return true;
            }

            if (!Varint.TryRead(source, ref _position, out value))
                return false;
            if (!runs)
                return true;
            _value = value;
            if (!Varint.TryRead(source, ref _position, out _left) || _left == 0)
                return false;
            _left--;
            return true;
        }

        /// <summary>Reads as many values as there is room for.</summary>
        public bool TryNext(ReadOnlySpan<byte> source, Span<ulong> values)
        {
            if (!runs)
                return Varint.TryRead(source, ref _position, values);
            for (var i = 0; i < values.Length;)
            {
                if (!TryNext(source, out values[i++]))
                    return false;
                var repeated = (int)Math.Min(_left, (ulong)(values.Length - i));
                values.Slice(i, repeated).Fill(_value);
                _left -= (ulong)repeated;
                i += repeated;
            }

            return true;
        }

        /// <summary>Reads values and adds them up, if each is within bounds: a run at a time.</summary>
        /// <param name="source">The block.</param>
        /// <param name="count">How many values.</param>
        /// <param name="least">None is below.</param>
        /// <param name="most">None is above, nor is their sum.</param>
        /// <param name="sum">Their sum, or <paramref name="most"/> where each may be as large.</param>
        public bool TryAll(ReadOnlySpan<byte> source, int count, ulong least, ulong most, out ulong sum)
        {
            sum = 0;
            for (long left = count; left > 0;)
            {
                if (!Varint.TryRead(source, ref _position, out var value) || value < least || value > most)
                    return false;
                ulong times = 1;
                if (runs && (!Varint.TryRead(source, ref _position, out times) || times == 0))
                    return false;
                var taken = Math.Min(times, (ulong)left);
                _left = times - taken;
                left -= (long)taken;
                sum = value > (ulong.MaxValue - sum) / taken ? ulong.MaxValue : sum + value * taken;
            }

            return true;
        }

        /// <summary>True when a run has values left that nobody asked for: the column is longer than the
        /// block.</summary>
        public readonly bool HasSurplus => _left > 0;
    }
}
