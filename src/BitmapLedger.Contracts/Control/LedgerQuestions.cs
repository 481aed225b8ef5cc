namespace BitmapLedger.Contracts.Control;

/// <summary>The Agent asks the Server: the blocks that changed in a range, in whole blocks of 64 KiB, as a file in
/// <c>run/bits/</c> that the Agent deletes (<see cref="BitsFile"/>).</summary>
/// <param name="Id">Volume id.</param>
/// <param name="From">The point after which; as spec/points.md writes it.</param>
/// <param name="To">The last point; null for now.</param>
/// <param name="Lsn">With every write up to this one known; else the answer is <c>busy</c>. 0 where the range does not go on.</param>
public sealed record ChangedBits(Guid Id, string From, string? To, long Lsn) : ControlRequest;

/// <summary>The Agent asks the Server: the bits of a bitmap as it was, answered like <see cref="ChangedBits"/>.</summary>
/// <param name="Id">Volume id.</param>
/// <param name="Bitmap">Its name.</param>
/// <param name="At">When; as spec/points.md writes it.</param>
public sealed record BitsAt(Guid Id, string Bitmap, string At) : ControlRequest;

/// <summary>The Agent asks the Server: the ranges from each checkpoint and each kept slice on, as names of meta contexts.</summary>
/// <param name="Id">Volume id.</param>
public sealed record ListRanges(Guid Id) : ControlRequest;

/// <summary>Answer to <see cref="ListRanges"/>.</summary>
/// <param name="Names">Checkpoints, the oldest first, then slices by bitmap.</param>
public sealed record RangeNames(IReadOnlyList<string> Names) : ControlReply;
