using System.Text.Json.Nodes;

namespace BitmapLedger.Conformance.Tests.Lockstep;

/// <summary>One thing that is done to both sides. It stands for itself: a sequence stays one when some of it is left out.</summary>
internal abstract record Step
{
    /// <summary>A QMP command; <c>A</c> and <c>B</c> stand for the two nodes.</summary>
    public sealed record Command(string Name, JsonObject Arguments) : Step
    {
        public override string ToString() => $"{Name} {Arguments.ToJsonString()}";
    }

    /// <summary>A request over NBD, cut at the end of the node.</summary>
    public sealed record Write(int Node, string Kind, double At, int Length) : Step;

    /// <summary>Another size. QEMU lets no node be resized that is exported, so both are exported anew.</summary>
    public sealed record Resize(int Node, long Sectors) : Step;
}
