using BitmapLedger.Qmp.Schema;

namespace BitmapLedger.Qmp.Commands;

/// <summary>Arguments of the commands that QEMU does not have: slices, checkpoints, history.</summary>
public static class ExtensionSchema
{
    private static readonly Member _node = new("node", ArgumentType.Text);
    private static readonly Member _name = new("name", ArgumentType.Text);
    private static readonly Member _forceCycle = new("force-cycle", ArgumentType.Boolean, IsRequired: false);

    /// <summary><c>block-dirty-bitmap-set-retention</c>.</summary>
    public static IReadOnlyList<Member> SetRetention { get; } =
    [
        _node, _name, new("slices", ArgumentType.Number), new Member("overflow", ArgumentType.Enumeration("fail", "cycle")).Optional,
        _forceCycle,
    ];

    /// <summary><c>block-dirty-bitmap-slice-create</c>.</summary>
    public static IReadOnlyList<Member> SliceCreate { get; } = [_node, _name, _forceCycle];

    /// <summary><c>block-dirty-bitmap-slice-delete</c>.</summary>
    public static IReadOnlyList<Member> SliceDelete { get; } = [_node, _name, new("slice", ArgumentType.Number)];

    /// <summary><c>block-checkpoint-add</c>.</summary>
    public static IReadOnlyList<Member> CheckpointAdd { get; } = [_name, new("nodes", ArgumentType.List(ArgumentType.Text))];

    /// <summary><c>block-checkpoint-remove</c>: without nodes, of all that have it.</summary>
    public static IReadOnlyList<Member> CheckpointRemove { get; } = [_name, new Member("nodes", ArgumentType.List(ArgumentType.Text)).Optional];

    /// <summary><c>query-block-dirty-bitmap-history</c>: so many events at a time, those behind the last one of the answer
    /// before.</summary>
    public static IReadOnlyList<Member> History { get; } =
    [
        _node, _name.Optional, new Member("from", ArgumentType.Text).Optional, new Member("to", ArgumentType.Text).Optional,
        new Member("limit", ArgumentType.Number).Optional, new Member("after", ArgumentType.Number).Optional,
    ];

    /// <summary><c>query-block-dirty-bitmap-slices</c>.</summary>
    public static IReadOnlyList<Member> Slices { get; } = [_node, _name];

    /// <summary><c>query-block-checkpoints</c>: without a node, of all.</summary>
    public static IReadOnlyList<Member> Checkpoints { get; } = [_node.Optional];

    /// <summary><c>query-command</c>.</summary>
    public static IReadOnlyList<Member> CommandById { get; } = [new("command-id", ArgumentType.Text)];
}
