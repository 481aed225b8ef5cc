namespace BitmapLedger.Server.Qmp;

/// <summary>Whether a QMP client wants everything to end: <c>bml serve</c> sees it by the exit code.</summary>
internal sealed class QuitRequest(IHostApplicationLifetime lifetime)
{
    /// <summary>Whether somebody said quit.</summary>
    public bool IsSet { get; private set; }

    /// <summary>Ends the server, after the reply.</summary>
    public void Quit()
    {
        IsSet = true;
        lifetime.StopApplication();
    }
}
