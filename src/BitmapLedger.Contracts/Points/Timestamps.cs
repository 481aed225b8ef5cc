using System.Globalization;

namespace BitmapLedger.Contracts.Points;

/// <summary>Times as they go in and out: UTC, RFC 3339, microseconds.</summary>
public static class Timestamps
{
    /// <summary>A time as text.</summary>
    public static string Show(DateTimeOffset time) =>
        time.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture);

    /// <summary>Microseconds since the Unix epoch as a time.</summary>
    public static DateTimeOffset FromMicroseconds(long microseconds) =>
        DateTimeOffset.UnixEpoch.AddTicks(microseconds * TimeSpan.TicksPerMicrosecond);

    /// <summary>A time as microseconds since the Unix epoch; what is finer is cut.</summary>
    public static long ToMicroseconds(DateTimeOffset time) =>
        (time.UtcTicks - DateTimeOffset.UnixEpoch.UtcTicks) / TimeSpan.TicksPerMicrosecond;
}
