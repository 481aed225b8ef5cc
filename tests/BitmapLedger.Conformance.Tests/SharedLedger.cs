using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>One running ledger for all tests of a class that leave it running: most of what a short test takes is a start.</summary>
public sealed class SharedLedger : IAsyncLifetime
{
    private Ledger _ledger = null!;

    public async ValueTask InitializeAsync() => _ledger = await Ledger.StartAsync();

    /// <summary>The ledger, without the volumes of the test before.</summary>
    public Ledger Empty()
    {
        foreach (var volume in _ledger.Json("volume", "list").GetProperty("volumes").EnumerateArray())
            _ledger.Json("volume", "remove", volume.GetProperty("name").GetString()!);
        // Their data stays when they go, and a new volume does not take it over.
        foreach (var image in Directory.GetFiles(Path.Combine(_ledger.DataDirectory, "volumes"), "*.img"))
            File.Delete(image);
        return _ledger;
    }

    public async ValueTask DisposeAsync() => await _ledger.DisposeAsync();
}
