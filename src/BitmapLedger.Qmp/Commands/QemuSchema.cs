using BitmapLedger.Qmp.Schema;

namespace BitmapLedger.Qmp.Commands;

/// <summary>Arguments of the commands that QEMU 7.2 has, in the order of its schema, which is the order of its checks.</summary>
public static class QemuSchema
{
    private static readonly Member _node = new("node", ArgumentType.Text);
    private static readonly Member _name = new("name", ArgumentType.Text);
    private static readonly Member _id = new("id", ArgumentType.Text);

    private static readonly ArgumentType _bitmapOrText = ArgumentType.TextOr("BlockDirtyBitmapOrStr", _node, _name);

    /// <summary>Node and name of a bitmap: remove, clear, enable, disable, sha256.</summary>
    public static IReadOnlyList<Member> Bitmap { get; } = [_node, _name];

    /// <summary><c>block-dirty-bitmap-add</c>.</summary>
    public static IReadOnlyList<Member> BitmapAdd { get; } =
    [
        _node, _name, new Member("granularity", ArgumentType.Natural32).Optional, new Member("persistent", ArgumentType.Boolean).Optional,
        new Member("disabled", ArgumentType.Boolean).Optional,
    ];

    /// <summary><c>block-dirty-bitmap-merge</c>.</summary>
    public static IReadOnlyList<Member> BitmapMerge { get; } =
        [_node, new("target", ArgumentType.Text), new("bitmaps", ArgumentType.List(_bitmapOrText))];

    /// <summary><c>query-named-block-nodes</c>.</summary>
    public static IReadOnlyList<Member> NamedBlockNodes { get; } = [new Member("flat", ArgumentType.Boolean).Optional];

    /// <summary><c>block_resize</c>.</summary>
    public static IReadOnlyList<Member> BlockResize { get; } =
    [
        new Member("device", ArgumentType.Text).Optional, new Member("node-name", ArgumentType.Text).Optional,
        new("size", ArgumentType.Number),
    ];

    /// <summary><c>nbd-server-start</c>.</summary>
    public static IReadOnlyList<Member> NbdServerStart { get; } =
    [
        new("addr", Address()), new Member("tls-creds", ArgumentType.Text).Optional, new Member("tls-authz", ArgumentType.Text).Optional,
        new Member("max-connections", ArgumentType.Natural32).Optional,
    ];

    /// <summary><c>block-export-add</c>, without the wrapping union: its members depend on <c>type</c>.</summary>
    public static ArgumentType BlockExportAdd { get; } = ArgumentType.Union(
        [
            new("type", ArgumentType.Enumeration("nbd")), _id, new Member("fixed-iothread", ArgumentType.Boolean).Optional,
            new Member("iothread", ArgumentType.Text).Optional, new("node-name", ArgumentType.Text),
            new Member("writable", ArgumentType.Boolean).Optional, new Member("writethrough", ArgumentType.Boolean).Optional,
        ],
        "type",
        new Dictionary<string, IReadOnlyList<Member>>
        {
            ["nbd"] =
            [
                _name.Optional, new Member("description", ArgumentType.Text).Optional,
                new Member("bitmaps", ArgumentType.List(_bitmapOrText)).Optional,
                new Member("allocation-depth", ArgumentType.Boolean).Optional,
            ],
        });

    /// <summary><c>block-export-del</c>.</summary>
    public static IReadOnlyList<Member> BlockExportDel { get; } = [_id, new Member("mode", ArgumentType.Enumeration("safe", "hard")).Optional];

    /// <summary><c>transaction</c> with the given types of actions and their data.</summary>
    /// <param name="actions">Members of the data of each type.</param>
    public static IReadOnlyList<Member> Transaction(IReadOnlyDictionary<string, IReadOnlyList<Member>> actions) =>
    [
        new("actions", ArgumentType.List(Wrapped([.. actions.Keys], actions))),
        new Member(
            "properties",
            ArgumentType.Structure(new Member("completion-mode", ArgumentType.Enumeration("individual", "grouped")).Optional)).Optional,
    ];

    private static ArgumentType Address() => Wrapped(
        ["inet", "unix"],
        new Dictionary<string, IReadOnlyList<Member>>
        {
            ["inet"] =
            [
                new("host", ArgumentType.Text), new("port", ArgumentType.Text), new Member("numeric", ArgumentType.Boolean).Optional,
                new Member("to", ArgumentType.Natural32).Optional, new Member("ipv4", ArgumentType.Boolean).Optional,
                new Member("ipv6", ArgumentType.Boolean).Optional, new Member("keep-alive", ArgumentType.Boolean).Optional,
                new Member("mptcp", ArgumentType.Boolean).Optional,
            ],
            ["unix"] =
            [
                new("path", ArgumentType.Text), new Member("abstract", ArgumentType.Boolean).Optional,
                new Member("tight", ArgumentType.Boolean).Optional,
            ],
        });

    /// <summary>QEMU's older unions: what depends on the type stands in a member <c>data</c>.</summary>
    private static ArgumentType Wrapped(IReadOnlyList<string> types, IReadOnlyDictionary<string, IReadOnlyList<Member>> data) =>
        ArgumentType.Union(
            [new("type", ArgumentType.Enumeration(types))], "type",
            data.ToDictionary(
                b => b.Key, IReadOnlyList<Member> (b) => [new("data", ArgumentType.Structure(b.Value))], StringComparer.Ordinal));
}
