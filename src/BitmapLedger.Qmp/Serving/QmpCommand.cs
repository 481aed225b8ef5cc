using System.Text.Json.Nodes;
using BitmapLedger.Qmp.Schema;

namespace BitmapLedger.Qmp.Serving;

/// <summary>Carries a command out. Its result is the value of <c>return</c>; null stands for <c>{}</c>.</summary>
/// <param name="request">Checked.</param>
/// <param name="cancellation">Ends it when the server ends.</param>
/// <exception cref="QmpException">It was turned down.</exception>
public delegate Task<JsonNode?> QmpHandler(QmpRequest request, CancellationToken cancellation);

/// <summary>A command: what it accepts and what it does.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Arguments">What it accepts.</param>
/// <param name="Handler">What it does.</param>
/// <param name="AllowsOob">Whether it may run out of band, beside a command that is under way.</param>
public sealed record QmpCommand(string Name, ArgumentType Arguments, QmpHandler Handler, bool AllowsOob = false)
{
    /// <summary>A command with plain arguments.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="members">Its arguments, in the order in which they are checked.</param>
    /// <param name="handler">What it does.</param>
    public QmpCommand(string name, IReadOnlyList<Member> members, QmpHandler handler)
        : this(name, ArgumentType.Structure(members), handler)
    {
    }
}

/// <summary>A command that was sent and understood.</summary>
/// <param name="Command">Its name.</param>
/// <param name="Arguments">Its arguments, checked.</param>
/// <param name="CommandId">What the client calls it, beside <c>id</c>: sent again it is not run again. Null for none.</param>
public sealed record QmpRequest(string Command, Arguments Arguments, string? CommandId);
