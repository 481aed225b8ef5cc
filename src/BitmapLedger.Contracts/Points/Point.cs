namespace BitmapLedger.Contracts.Points;

/// <summary>A place in a volume's history, as spec/points.md writes it. Parsed here, resolved by the ledger.</summary>
public abstract record Point
{
    private Point()
    {
    }

    /// <summary>After everything recorded up to the request.</summary>
    public sealed record Now : Point;

    /// <summary>Just after the volume was created.</summary>
    public sealed record Start : Point;

    /// <summary>After an event of the volume's stream; the first is 1.</summary>
    /// <param name="Number">Its number.</param>
    public sealed record AtEvent(long Number) : Point;

    /// <summary>Just after a single write, before any command that stands at it.</summary>
    /// <param name="Number">Its LSN; 0 is before the first.</param>
    public sealed record AtLsn(long Number) : Point;

    /// <summary>Where a checkpoint stands.</summary>
    /// <param name="Name">Its name.</param>
    public sealed record AtCheckpoint(string Name) : Point;

    /// <summary>Where a slice was banked, or where it begins.</summary>
    /// <param name="Bitmap">Its bitmap.</param>
    /// <param name="Number">Its number.</param>
    /// <param name="Begin">Whether its beginning is meant.</param>
    public sealed record AtSlice(string Bitmap, long Number, bool Begin) : Point;

    /// <summary>Every write and command up to and including an instant.</summary>
    /// <param name="Time">The instant.</param>
    public sealed record AtInstant(DateTimeOffset Time) : Point;

    /// <summary>That long before the request.</summary>
    /// <param name="Span">How long; above zero.</param>
    public sealed record Ago(TimeSpan Span) : Point;

    /// <summary>Reads a point.</summary>
    /// <param name="text">As the user wrote it.</param>
    /// <param name="fault">What is wrong with it.</param>
    /// <returns>Null when it is none.</returns>
    public static Point? TryParse(string text, out string fault) => PointGrammar.TryParse(text, out fault);
}
