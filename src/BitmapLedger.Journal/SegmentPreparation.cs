namespace BitmapLedger.Journal;

/// <summary>Allocates the next segment on a thread of its own, so that a request rarely waits for it.</summary>
internal sealed class SegmentPreparation
{
    private readonly Thread _thread;
    private Segment? _segment;

    public SegmentPreparation(string directory, long number, long lengthBytes)
    {
        _thread = new Thread(() => Prepare(directory, number, lengthBytes)) { IsBackground = true, Name = "journal-prepare" };
        _thread.Start();
    }

    /// <summary>The segment, once it is there; null when the disk refused.</summary>
    public Segment? Take()
    {
        _thread.Join();
        return _segment;
    }

    private void Prepare(string directory, long number, long lengthBytes)
    {
        try
        {
            _segment = Segment.Prepare(directory, number, lengthBytes);
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            // Ahead of time nobody can be told: whoever needs the segment tries again and gets the error.
        }
    }
}
