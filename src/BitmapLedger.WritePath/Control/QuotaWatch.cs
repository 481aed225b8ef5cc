using BitmapLedger.Contracts.Points;
using BitmapLedger.Journal;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.WritePath.Control;

/// <summary>
/// Says when journals fill up: at 50, 80, 95 and 100 percent of the quota, each time the mark is passed and not again
/// until use has gone well below it. Looks from a thread of its own, so that a write pays nothing for it.
/// </summary>
public sealed class QuotaWatch : IDisposable
{
    private static readonly TimeSpan _pause = TimeSpan.FromMilliseconds(250);
    private static readonly int[] _marks = [50, 80, 95, 100];

    /// <summary>Use that goes up and down around a mark is said once.</summary>
    private const int WellBelow = 5;

    private readonly VolumeSet _volumes;
    private readonly Action<string> _say;
    private readonly Dictionary<Guid, int> _passed = [];
    private readonly ManualResetEventSlim _ended = new();
    private readonly Thread _watching;

    /// <summary>Begins to watch.</summary>
    /// <param name="volumes">Whose journals.</param>
    /// <param name="say">Takes a line for people.</param>
    public QuotaWatch(VolumeSet volumes, Action<string> say)
    {
        _volumes = volumes;
        _say = say;
        _watching = new Thread(Watch) { IsBackground = true, Name = "quota" };
        _watching.Start();
    }

    /// <summary>Ends the watch.</summary>
    public void Dispose()
    {
        _ended.Set();
        _watching.Join();
        _ended.Dispose();
    }

    private void Watch()
    {
        while (!_ended.Wait(_pause))
            foreach (var volume in _volumes.Opened)
                Look(volume);
    }

    private void Look(TrackedVolume volume)
    {
        var use = volume.Use;
        var percent = use.IsFull ? 100 : Math.Min(99, use.UsedBytes * 100 / use.QuotaBytes);
        var passed = _passed.GetValueOrDefault(volume.Spec.Id);
        for (; passed < _marks.Length && percent >= _marks[passed]; passed++)
            _say(Warning(volume, use, _marks[passed]));
        if (passed > 0 && percent < _marks[0] - WellBelow)
            _say($"volume '{volume.Spec.Name}': its journal has room again, {percent} % of the quota are used");
        while (passed > 0 && percent < _marks[passed - 1] - WellBelow)
            passed--;
        _passed[volume.Spec.Id] = passed;
    }

    private static string Warning(TrackedVolume volume, JournalUse use, int mark)
    {
        var since = use.WaitingSinceMicroseconds == 0
            ? "is being freed"
            : $"waits since {Timestamps.Show(Timestamps.FromMicroseconds(use.WaitingSinceMicroseconds))} for PostgreSQL";
        var effect = (mark, volume.StallsWhenFull) switch
        {
            (100, true) => "writes wait now and go on by themselves when there is room",
            (100, false) => "writes fail now with ENOSPC until there is room",
            (_, true) => "when it is used up writes wait",
            _ => "when it is used up writes fail with ENOSPC",
        };
        return $"volume '{volume.Spec.Name}': {mark} % of its journal quota of {ByteSize.Show(use.QuotaBytes)} is used, "
            + $"{ByteSize.Show(use.UsedBytes)} {since}; {effect}; bring PostgreSQL and the server back, or give more "
            + "with bml serve --journal-quota";
    }
}
