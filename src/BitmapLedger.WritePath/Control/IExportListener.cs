using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.WritePath.Control;

/// <summary>Lets NBD clients connect to block exports. Called by one thread at a time.</summary>
public interface IExportListener
{
    /// <summary>Begins to listen at one more place.</summary>
    /// <param name="uri">Where.</param>
    /// <param name="connectionsMax">Clients at a time; 0 for any number.</param>
    /// <param name="offered">What they are offered.</param>
    /// <returns>Where it listens, with the port that the system picked.</returns>
    /// <exception cref="Backends.BackendException">It cannot listen there.</exception>
    NbdUri Listen(NbdUri uri, long connectionsMax, IExportSource offered);

    /// <summary>Ends that listener and cuts off whoever is connected there, without waiting for them.</summary>
    void Unlisten();

    /// <summary>Whether clients use an export.</summary>
    bool IsUsed(ITrackedExport export);

    /// <summary>Cuts off whoever is connected to an export, as QEMU does when it is to end at once. What they asked for and
    /// has begun still ends, and is tracked; nobody waits for it.</summary>
    void Cut(ITrackedExport export);

    /// <summary>Ends the connections to an export and waits for them.</summary>
    void Drop(ITrackedExport export);
}
