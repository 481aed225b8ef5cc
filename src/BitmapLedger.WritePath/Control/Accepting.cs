using System.Net.Sockets;

namespace BitmapLedger.WritePath.Control;

/// <summary>Clients from a listening socket, one after the other, for as long as it listens.</summary>
public static class Accepting
{
    /// <summary>Long enough that a process without free descriptors does not spin, short enough that nobody notices.</summary>
    private static readonly TimeSpan _pause = TimeSpan.FromMilliseconds(100);

    /// <summary>
    /// Waits for the next client. What the system refuses meanwhile, such as one more descriptor, is tried again: a listener
    /// ends when it is closed and for no other reason.
    /// </summary>
    /// <param name="listener">Bound and listening, blocking.</param>
    /// <param name="look">For a socket that others have too, and that closing does not wake: how long to wait before looking
    /// whether it was closed; else null.</param>
    /// <param name="log">Takes a line, once per refusal however long it lasts.</param>
    /// <param name="closed">Cancelled before the listener is closed.</param>
    /// <returns>The client; null when the listener was closed.</returns>
    public static Socket? Next(Socket listener, TimeSpan? look, Action<string> log, CancellationToken closed)
    {
        for (var told = false; !closed.IsCancellationRequested;)
        {
            try
            {
                if (look is not { } wait || listener.Poll(wait, SelectMode.SelectRead))
                    return listener.Accept();
            }
            catch (SocketException aborted) when (
                aborted.SocketErrorCode is SocketError.ConnectionReset or SocketError.ConnectionAborted)
            {
                // The client went away between connecting and being accepted.
            }
            catch (ObjectDisposedException)
            {
                return null;
            }
            catch (SocketException refusal)
            {
                if (!told && !closed.IsCancellationRequested)
                    log($"clients have to wait: {refusal.Message}");
                told = true;
                closed.WaitHandle.WaitOne(_pause);
            }
        }

        return null;
    }
}
