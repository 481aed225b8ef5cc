using BitmapLedger.Bitmaps;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>Whether a byte is dirty in any of several maps, seen at one granularity, and how far that holds.</summary>
/// <remarks>Each added map either covers the byte, and moves the end of the dirty stretch, or says where it begins
/// next.
/// The maps are asked again from that end until none of them moves it: runs of different maps may touch.</remarks>
internal struct DirtyUnion(long offset, long end, Granularity granularity)
{
    private readonly List<NativeBitmap> _maps = [];

    public readonly void Add(NativeBitmap map) => _maps.Add(map);

    public readonly bool IsDirty(out long until)
    {
        var mask = granularity.Bytes - 1;
        var dirtyEnd = offset & ~mask;
        var nextStart = long.MaxValue;
        for (var moved = true; moved;)
        {
            moved = false;
            foreach (var map in _maps)
            {
                if (dirtyEnd >= end || !map.TryFindRun(dirtyEnd >> map.Granularity.Shift, out var run))
                    continue;
                var start = (run.First << map.Granularity.Shift) & ~mask;
                if (start <= dirtyEnd)
                {
                    dirtyEnd = ((run.End << map.Granularity.Shift) + mask) & ~mask;
                    moved = true;
                }
                else
                {
                    nextStart = Math.Min(nextStart, start);
                }
            }
        }

        var dirty = dirtyEnd > offset;
        until = Math.Min(end, dirty ? dirtyEnd : nextStart);
        return dirty;
    }
}
