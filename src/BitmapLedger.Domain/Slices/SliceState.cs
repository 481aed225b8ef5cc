using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Domain.Volumes;

/// <summary>A frozen, numbered part of a bitmap.</summary>
/// <param name="Number">Its number.</param>
/// <param name="Cause"><c>backup</c> or <c>manual</c>.</param>
/// <param name="From">Where it begins.</param>
/// <param name="To">Where it was banked; for a backup, where the job began.</param>
/// <param name="Bits">Its bits.</param>
public sealed record SliceState(long Number, string Cause, Position From, Position To, BitExpression Bits);
