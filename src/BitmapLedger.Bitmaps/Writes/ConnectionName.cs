namespace BitmapLedger.Bitmaps.Writes;

/// <summary>Who a connection number stands for.</summary>
/// <param name="Connection">The number that writes carry.</param>
/// <param name="Name">Peer and identity, e.g. <c>unix:pid=4711,uid=0</c>.</param>
public readonly record struct ConnectionName(int Connection, string Name);
