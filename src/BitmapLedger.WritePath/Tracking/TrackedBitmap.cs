using BitmapLedger.Bitmaps;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>One dirty bitmap of a volume: what was folded into it, and whether it records what comes.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Recording">Whether the maps that are not folded yet count.</param>
/// <param name="Base">What was folded in; at the bitmap's own granularity.</param>
internal sealed record TrackedBitmap(string Name, bool Recording, NativeBitmap Base);
