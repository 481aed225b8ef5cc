namespace BitmapLedger.Agent;

/// <summary>Lifecycle lines on stderr; requests are never logged.</summary>
internal sealed class AgentLog(TimeProvider clock)
{
    public void Line(string text) =>
        Console.Error.WriteLine($"{clock.GetUtcNow():yyyy-MM-ddTHH:mm:ss.ffffffZ} agent: {text}");
}
