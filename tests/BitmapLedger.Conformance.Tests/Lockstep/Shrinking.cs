namespace BitmapLedger.Conformance.Tests.Lockstep;

/// <summary>Makes a sequence that fails as short as it can be by leaving things out.</summary>
internal static class Shrinking
{
    /// <summary>Leaves out halves, quarters … single steps, as long as what is left still fails.</summary>
    /// <param name="steps">A sequence that fails.</param>
    /// <param name="said">How it fails.</param>
    /// <param name="attempt">Tries a sequence; says how it fails, or null.</param>
    /// <returns>A sequence that fails, and none does that has one step less; and how it fails.</returns>
    public static (IReadOnlyList<T> Steps, string Said) Least<T>(
        IReadOnlyList<T> steps, string said, Func<IReadOnlyList<T>, string?> attempt)
    {
        for (var chunk = Math.Max(1, steps.Count / 2); ; chunk = Math.Max(1, chunk / 2))
        {
            var before = steps.Count;
            for (var at = 0; at < steps.Count;)
            {
                IReadOnlyList<T> shorter = [.. steps.Take(at), .. steps.Skip(at + chunk)];
                if (attempt(shorter) is { } parted)
                    (steps, said) = (shorter, parted);
                else
                    at += chunk;
            }

            if (chunk == 1 && steps.Count == before)
                return (steps, said);
        }
    }
}
