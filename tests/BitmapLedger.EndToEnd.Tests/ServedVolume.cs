using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>One running ledger for all tests of a class, with a volume <c>v</c> of 1 MiB, a bitmap <c>b0</c>, a write and a
/// checkpoint <c>c</c>.</summary>
public sealed class ServedVolume : IAsyncLifetime
{
    public Ledger Ledger { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Ledger = await Ledger.StartAsync();
        Ledger.Json("volume", "create", "v", "--size", "1M");
        Ledger.Json("bitmap", "add", "v", "b0");
        NbdShell.Write(Ledger.Export("v"), [(0, 512)]);
        Ledger.Json("checkpoint", "create", "v", "c");
    }

    public async ValueTask DisposeAsync() => await Ledger.DisposeAsync();
}
