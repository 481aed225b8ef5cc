using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>A node of the union tree.</summary>
/// <param name="Place">Which events it stands for.</param>
/// <param name="FirstLsn">LSN of the first write in it; 0 when there is none.</param>
/// <param name="LastLsn">LSN of the last write in it; 0 when there is none.</param>
/// <param name="Granularity">Bytes a block.</param>
/// <param name="Lost">Whether writes may have gone unrecorded, so that every block counts as touched.</param>
/// <param name="Inexact">Whether it may hold more blocks than were touched.</param>
/// <param name="Bits">The blocks, as <see cref="Bitmaps.Nodes.NodeCodec"/> writes them; valid as long as whoever gave it
/// says.</param>
public readonly record struct UnionNode(
    TreeNode Place, long FirstLsn, long LastLsn, Granularity Granularity, bool Lost, bool Inexact, ReadOnlyMemory<byte> Bits);

/// <summary>A part of a node's bytes.</summary>
/// <param name="Bytes">The bytes.</param>
/// <param name="Lost">Whether writes may have gone unrecorded in it.</param>
public readonly record struct NodePart(byte[] Bytes, bool Lost);
