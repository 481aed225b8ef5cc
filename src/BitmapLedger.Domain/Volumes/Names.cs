using System.Text;

namespace BitmapLedger.Domain.Volumes;

/// <summary>What may be called what: spec/points.md.</summary>
public static class Names
{
    private const int VolumeMax = 64;
    private const int BitmapBytesMax = 1023;
    private const int CheckpointBytesMax = 255;

    /// <summary>1 to 64 of <c>A-Z a-z 0-9 . _ -</c>, not starting with <c>-</c> or <c>.</c>: also a file's
    /// name.</summary>
    public static Refusal? RefuseVolume(string name) =>
        name.Length is >= 1 and <= VolumeMax && name[0] is not ('-' or '.')
        && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-')
            ? null
            : Refusal.BadArgument(
                $"'{Short(name)}' is no name for a volume", "take 1 to 64 of A-Z a-z 0-9 . _ - and do not begin with - or .");

    /// <summary>As in QEMU: 1 to 1023 bytes of any UTF-8.</summary>
    public static Refusal? RefuseBitmap(string name) =>
        name.Length == 0 ? Refusal.BadArgument("Bitmap name cannot be empty")
        : name.Contains('\0') ? Refusal.BadArgument("Bitmap name holds a zero character", "take any other UTF-8")
        : Encoding.UTF8.GetByteCount(name) > BitmapBytesMax ? Refusal.BadArgument($"Bitmap name too long: {Short(name)}")
        : null;

    /// <summary>1 to 255 bytes of UTF-8 without control characters, <c>..</c> or <c>@</c>.</summary>
    public static Refusal? RefuseCheckpoint(string name) =>
        name.Length > 0 && Encoding.UTF8.GetByteCount(name) <= CheckpointBytesMax && !name.Any(char.IsControl)
        && !name.Contains("..", StringComparison.Ordinal) && !name.Contains('@')
            ? null
            : Refusal.BadArgument(
                $"'{Short(name)}' is no name for a checkpoint", "take 1 to 255 bytes without control characters, '..' or '@'");

    /// <summary>Enough of a name to know it again.</summary>
    private static string Short(string name) => name.Length <= 80 ? name : $"{name[..80]}… ({Encoding.UTF8.GetByteCount(name)} bytes)";
}
