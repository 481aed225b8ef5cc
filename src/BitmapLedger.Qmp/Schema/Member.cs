namespace BitmapLedger.Qmp.Schema;

/// <summary>A named argument, or a member of an object among them.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Its type.</param>
/// <param name="IsRequired">Whether it must be there.</param>
public sealed record Member(string Name, ArgumentType Type, bool IsRequired = true)
{
    /// <summary>The same, but it may be left out.</summary>
    public Member Optional => this with { IsRequired = false };
}
