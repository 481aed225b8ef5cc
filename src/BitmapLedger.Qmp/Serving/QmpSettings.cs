using System.Text.Json.Nodes;
using BitmapLedger.Qmp.Json;

namespace BitmapLedger.Qmp.Serving;

/// <summary>What a server says of itself and allows.</summary>
public sealed record QmpSettings
{
    /// <summary>Version of QEMU whose commands are spoken: major, minor, micro.</summary>
    public required (int Major, int Minor, int Micro) Version { get; init; }

    /// <summary>Who really answers.</summary>
    public required string Package { get; init; }

    /// <summary>Where the time of events comes from.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>What the messages of all clients together may hold until they are answered.</summary>
    public MessageBudget Budget { get; init; } = new(MessageBudget.BytesDefault);

    /// <summary>Lets what this library answers by itself act once under its command id, and answer the same for ever: questions
    /// about the server, and arguments that do not fit. Without it that is answered anew each time.</summary>
    public Func<QmpRequest, Func<CancellationToken, Task<JsonNode?>>, CancellationToken, Task<JsonNode?>> Once { get; init; } =
        (_, act, cancellation) => act(cancellation);

    /// <summary>Told of failures that no handler foresaw.</summary>
    public Action<string, Exception> OnUnexpected { get; init; } = (_, _) => { };

    /// <summary>Told when clients could not be accepted; it is tried again after a pause.</summary>
    public Action<Exception> OnNotAccepted { get; init; } = _ => { };

    internal JsonObject ShowVersion() => new()
    {
        ["qemu"] = new JsonObject { ["major"] = Version.Major, ["minor"] = Version.Minor, ["micro"] = Version.Micro },
        ["package"] = Package,
    };
}
