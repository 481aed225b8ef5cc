namespace BitmapLedger.Domain;

/// <summary>Why a command was turned down: a value, part of the contract. It changed nothing.</summary>
/// <param name="Code">Kebab-case code of spec/cli.md.</param>
/// <param name="Message">Names the thing and the value; QEMU's text where QEMU has one.</param>
/// <param name="Hint">The way out, if the message does not say it.</param>
public sealed record Refusal(string Code, string Message, string? Hint = null)
{
    /// <summary>Something named is not there.</summary>
    public static Refusal NotFound(string message, string? hint = null) => new("not-found", message, hint);

    /// <summary>Something of that name is there already.</summary>
    public static Refusal Exists(string message, string? hint = null) => new("exists", message, hint);

    /// <summary>A value cannot be.</summary>
    public static Refusal BadArgument(string message, string? hint = null) => new("bad-argument", message, hint);

    /// <summary>Somebody uses it; later it may do.</summary>
    public static Refusal Busy(string message, string? hint = null) => new("busy", message, hint);

    /// <summary>The state of things forbids it.</summary>
    public static Refusal Failed(string message, string? hint = null) => new("failed", message, hint);

    /// <summary>Not built yet.</summary>
    public static Refusal Unsupported(string message, string? hint = null) => new("unsupported", message, hint);
}
