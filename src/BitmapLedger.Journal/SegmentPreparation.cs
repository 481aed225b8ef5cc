namespace BitmapLedger.Journal;

/// <summary>Allocates the next segment on a thread of its own, so that a request rarely waits for it.</summary>
internal sealed class SegmentPreparation
{
    private readonly Thread _thread;
    private Segment? _segment;

    public SegmentPreparation(JournalOptions options, long number)
    {
        _thread = new Thread(() => Prepare(options, number)) { IsBackground = true, Name = "journal-prepare" };
        _thread.Start();
    }

    /// <summary>Returns when the segment is there, or the disk has refused.</summary>
    public void Wait() => _thread.Join();

    /// <summary>The segment, once it is there; null when the disk refused.</summary>
    public Segment? Take()
    {
        _thread.Join();
        return _segment;
    }

    private void Prepare(JournalOptions options, long number)
    {
        try
        {
            _segment = Segment.Prepare(options, number);
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            // Ahead of time nobody can be told: whoever needs the segment tries again and gets the error.
        }
    }
}
