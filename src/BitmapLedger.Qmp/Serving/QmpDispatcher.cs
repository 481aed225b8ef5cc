using System.Text.Json.Nodes;
using BitmapLedger.Qmp.Json;
using BitmapLedger.Qmp.Schema;

namespace BitmapLedger.Qmp.Serving;

/// <summary>Answers the messages of one client: QEMU's checks in QEMU's order, and the negotiation in front.</summary>
internal sealed class QmpDispatcher
{
    /// <summary>Most characters of a command id, as everywhere in this project.</summary>
    private const int CommandIdMax = 64;

    private const string Negotiation = "qmp_capabilities";
    private const string Oob = "oob";

    private readonly IReadOnlyDictionary<string, QmpCommand> _commands;
    private readonly QmpSettings _settings;
    private readonly IReadOnlyDictionary<string, QmpCommand> _negotiating;

    /// <summary>The negotiation's command id and arguments: it is of this connection alone, and so is its id.</summary>
    private string? _negotiation;

    public QmpDispatcher(IReadOnlyDictionary<string, QmpCommand> commands, QmpSettings settings)
    {
        _settings = settings;
        QmpCommand[] own =
        [
            new(Negotiation, [new Member("enable", ArgumentType.List(ArgumentType.Enumeration(Oob))).Optional], Negotiate),
            new("query-version", [], (r, c) => _settings.Once(r, _ => Task.FromResult<JsonNode?>(_settings.ShowVersion()), c)),
            new("query-commands", [], (r, c) => _settings.Once(r, _ => Task.FromResult<JsonNode?>(ShowCommands()), c)),
        ];
        _commands = own.Concat(commands.Values).ToDictionary(c => c.Name, StringComparer.Ordinal);
        _negotiating = own.Take(1).ToDictionary(c => c.Name, StringComparer.Ordinal);
    }

    /// <summary>Whether the client has chosen what it wants to use, and may command.</summary>
    public bool IsNegotiated { get; private set; }

    /// <summary>Whether the client may send <c>exec-oob</c>.</summary>
    public bool HasOob { get; private set; }

    public JsonObject Greet() => new()
    {
        ["QMP"] = new JsonObject { ["version"] = _settings.ShowVersion(), ["capabilities"] = new JsonArray(Oob) },
    };

    /// <summary>Turns a client down that is to go.</summary>
    /// <param name="why">Why.</param>
    public static JsonObject Refuse(string why) => Error(QmpErrorClass.GenericError, why);

    /// <summary>Whether a message is to be answered beside the one that is under way.</summary>
    public bool IsOob(JsonInput input) =>
        HasOob && input.Value is JsonObject message && message.ContainsKey("exec-oob") && !message.ContainsKey("execute");

    public async Task<JsonObject> AnswerAsync(JsonInput input, CancellationToken cancellation)
    {
        JsonObject reply;
        try
        {
            reply = new JsonObject { ["return"] = await ReturnAsync(input, cancellation) ?? new JsonObject() };
        }
        catch (QmpException refusal)
        {
            reply = Error(refusal.ErrorClass, refusal.Description);
        }

        if (input.Value is JsonObject message && message.TryGetPropertyValue("id", out var id))
            reply["id"] = id?.DeepClone();
        return reply;
    }

    private async Task<JsonNode?> ReturnAsync(JsonInput input, CancellationToken cancellation)
    {
        if (input.Fault is { } fault)
            throw new QmpException(fault);
        var message = input.Value as JsonObject ?? throw new QmpException("QMP input must be a JSON object");
        var key = CheckMessage(message);
        var name = message[key]!.GetValue<string>();
        if (!(IsNegotiated ? _commands : _negotiating).TryGetValue(name, out var command))
            throw new QmpException(
                QmpErrorClass.CommandNotFound,
                IsNegotiated ? $"The command {name} has not been found" : $"Expecting capabilities negotiation with '{Negotiation}'");
        if (key != "execute" && !command.AllowsOob)
            throw new QmpException($"The command {name} does not support OOB");
        var request = new QmpRequest(name, new(message["arguments"] as JsonObject ?? []), message["command-id"]?.GetValue<string>());
        try
        {
            return await (Misfit(command, request) is { } misfit
                ? _settings.Once(request, _ => throw misfit, cancellation)
                : command.Handler(request, cancellation));
        }
        catch (Exception failure) when (failure is not (QmpException or OperationCanceledException))
        {
            _settings.OnUnexpected(name, failure);
            throw new QmpException($"{name} failed, and this is a bug: {failure.Message}");
        }
    }

    /// <summary>What is wrong with the arguments, where an id stands for that, too. The negotiation's stands for no more than a
    /// connection.</summary>
    private static QmpException? Misfit(QmpCommand command, QmpRequest request)
    {
        try
        {
            command.Arguments.Check(request.Arguments.Members, name: null, "");
            return null;
        }
        catch (QmpException misfit) when (command.Name != Negotiation)
        {
            return misfit;
        }
    }

    /// <summary>The key that names the command.</summary>
    private string CheckMessage(JsonObject message)
    {
        string? named = null;
        foreach (var (key, value) in WireText.InOrder(message))
        {
            if (key == "execute" || (key == "exec-oob" && HasOob))
            {
                if (!IsText(value))
                    throw new QmpException($"QMP input member '{key}' must be a string");
                if (named is not null)
                    throw new QmpException($"QMP input member '{key}' clashes with '{named}'");
                named = key;
            }
            else if (key == "arguments" && value is not JsonObject)
            {
                throw new QmpException("QMP input member 'arguments' must be an object");
            }
            else if (key == "command-id")
            {
                if (!IsText(value) || value!.GetValue<string>() is not { Length: > 0 and <= CommandIdMax } id || id.Contains('\0'))
                    throw new QmpException(
                        $"QMP input member 'command-id' must be a string of 1 to {CommandIdMax} characters, none of them zero");
            }
            else if (key is not ("id" or "arguments"))
            {
                throw new QmpException($"QMP input member '{key}' is unexpected");
            }
        }

        return named ?? throw new QmpException("QMP input lacks member 'execute'");
    }

    private static bool IsText(JsonNode? value) => value is JsonValue scalar && scalar.TryGetValue<string>(out _);

    private Task<JsonNode?> Negotiate(QmpRequest request, CancellationToken cancellation)
    {
        var said = request.CommandId is { } id ? $"{id} {WireText.Write(request.Arguments.Members)}" : null;
        if (IsNegotiated && said is not null && said == _negotiation)
            return Task.FromResult<JsonNode?>(null);
        if (IsNegotiated)
            throw new QmpException(
                QmpErrorClass.CommandNotFound, "Capabilities negotiation is already complete, command ignored");
        _negotiation = said;
        HasOob = request.Arguments.List("enable").Count > 0;
        IsNegotiated = true;
        return Task.FromResult<JsonNode?>(null);
    }

    private JsonArray ShowCommands() =>
        // The newest first, as in QEMU.
        [.. _commands.Keys.Reverse().Select(n => new JsonObject { ["name"] = n })];

    private static JsonObject Error(QmpErrorClass errorClass, string description) => new()
    {
        ["error"] = new JsonObject { ["class"] = errorClass.ToString(), ["desc"] = description },
    };
}
