namespace BitmapLedger.Qmp.Serving;

/// <summary>A message to one client.</summary>
/// <param name="Bytes">As they are sent, the end of the line included.</param>
/// <param name="IsEvent">Whether nobody asked for it.</param>
internal sealed record OutgoingMessage(byte[] Bytes, bool IsEvent);
