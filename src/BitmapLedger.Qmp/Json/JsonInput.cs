using System.Text.Json.Nodes;

namespace BitmapLedger.Qmp.Json;

/// <summary>One message of a stream: a value, or what was wrong with it.</summary>
/// <param name="Value">The value; null is JSON's <c>null</c> when there is no fault.</param>
/// <param name="Fault">QEMU's text, or null.</param>
public sealed record JsonInput(JsonNode? Value, string? Fault);
