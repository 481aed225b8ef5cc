using BitmapLedger.Bitmaps.Writes;

namespace BitmapLedger.Domain.Retaining;

/// <summary>Events of a history that one event takes the place of, at the number of the last of them.</summary>
/// <param name="Last">Number of the last; the first is in <paramref name="Span"/>.</param>
/// <param name="Replaced">How many events there are now.</param>
/// <param name="Span">Which writes they hold.</param>
/// <param name="Bytes">What takes their place, as <see cref="CoalescedWrites"/> writes it.</param>
/// <param name="IsGone">Whether their blocks are forgotten.</param>
public sealed record CoalescedRun(long Last, int Replaced, CoalescedSpan Span, byte[] Bytes, bool IsGone);
