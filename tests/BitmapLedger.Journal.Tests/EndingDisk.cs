namespace BitmapLedger.Journal.Tests;

/// <summary>The machine's file systems, whose process is killed after so many changes.</summary>
/// <param name="changes">How many are still done.</param>
internal sealed class EndingDisk(int changes) : ChangedDisk
{
    private int _left = changes;

    /// <summary>Whether it was killed.</summary>
    public bool HasEnded { get; private set; }

    protected override void Change()
    {
        HasEnded |= _left-- <= 0;
        if (HasEnded)
            throw new OperationCanceledException("killed");
    }
}
