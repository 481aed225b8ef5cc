namespace BitmapLedger.Domain.Bitmaps;

/// <summary>A part of the bits of a bitmap: where they come from, and what became of them on their way.</summary>
/// <param name="Origin">Where they come from.</param>
/// <param name="Path">What became of them.</param>
public sealed record BitTerm(BitOrigin Origin, BitPath Path)
{
    /// <summary>As <see cref="BitExpression"/> writes it.</summary>
    public override string ToString() => $"{Origin}{Path}";
}

/// <summary>Where bits come from.</summary>
public abstract record BitOrigin
{
    private BitOrigin()
    {
    }

    /// <summary>What the events between two events touched: single writes, recovered stretches, gaps.</summary>
    /// <param name="From">Number of the event after which it begins.</param>
    /// <param name="To">Number of the event before which it ends; null while it goes on.</param>
    public sealed record Touched(long From, long? To) : BitOrigin
    {
        /// <summary>Whether an event is in between.</summary>
        public bool Has(long number) => From < number && (To is not { } to || number < to);

        /// <inheritdoc />
        public override string ToString() => $"{From}..{To}";
    }

    /// <summary>Bits that an event carries: a bitmap that was imported, a foreign source of a merge, what a job left.</summary>
    /// <param name="Event">Number of the event.</param>
    /// <param name="Index">Which of its sources; 0 where it has but one.</param>
    public sealed record Given(long Event, int Index) : BitOrigin
    {
        /// <inheritdoc />
        public override string ToString() => $"#{Event}.{Index}";
    }

    /// <summary>The bits that a bitmap had before some events; never stored.</summary>
    /// <param name="Index">Which bitmap: see <see cref="BitTransfer"/>.</param>
    public sealed record Earlier(int Index) : BitOrigin
    {
        /// <inheritdoc />
        public override string ToString() => $"={Index}";
    }
}
