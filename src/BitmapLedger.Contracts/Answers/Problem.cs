namespace BitmapLedger.Contracts.Answers;

/// <summary>A failure over HTTP, <c>application/problem+json</c>.</summary>
/// <param name="Title">What happened, in a word.</param>
/// <param name="Status">HTTP status.</param>
/// <param name="Detail">Names the thing, the value and the way out.</param>
/// <param name="Code">One of <see cref="ErrorCode"/>.</param>
/// <param name="Hint">What to do, if that is not plain.</param>
/// <param name="KeptFrom">With <c>history-gone</c>: where the kept history begins.</param>
public sealed record Problem(
    string Title, int Status, string Detail, string Code, string? Hint = null, string? KeptFrom = null);

/// <summary>A failure on stderr with <c>--json</c>.</summary>
/// <param name="Error">What happened.</param>
public sealed record ErrorLine(ErrorBody Error);

/// <summary>What happened.</summary>
/// <param name="Code">One of <see cref="ErrorCode"/>.</param>
/// <param name="Message">Names the thing, the value and the way out.</param>
/// <param name="Hint">What to do, if that is not plain.</param>
/// <param name="KeptFrom">With <c>history-gone</c>: where the kept history begins.</param>
public sealed record ErrorBody(string Code, string Message, string? Hint, string? KeptFrom = null);
