namespace BitmapLedger.Testing;

/// <summary>What libnbd sees of meta contexts.</summary>
public static class MetaContexts
{
    /// <summary>Functions for scripts of nbdsh: <c>connect</c> with contexts, and <c>show</c>, which prints what is dirty in one as
    /// a line of <c>TAG OFFSET+LENGTH …</c>.</summary>
    public const string Script = """
        import sys, time
        def connect(uri, *names):
            handle = nbd.NBD()
            for name in names:
                handle.add_meta_context(name)
            handle.connect_uri(uri)
            return handle
        def dirty(handle, name):
            found, at, size = [], 0, handle.get_size()
            while at < size:
                got = []
                def take(context, offset, entries, error):
                    if context == name:
                        got.extend(entries)
                handle.block_status(min(size - at, 1 << 30), at, take)
                for length, flags in zip(got[0::2], got[1::2]):
                    if flags & 1:
                        found.append((at, length))
                    at += length
            return found
        def show(tag, handle, name):
            print(tag, *["%d+%d" % e for e in dirty(handle, name)], flush=True)
        """;

    /// <summary>Runs a script with these functions, and with the export's address as <c>uri</c>.</summary>
    /// <returns>Lines by their tag.</returns>
    public static IReadOnlyDictionary<string, (long Offset, long Length)[]> Run(string uri, string script)
    {
        var shell = Tool.Run("nbdsh", "-c", $"{Script}\nuri = {Quoted(uri)}\n{script}").Expect();
        return shell.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split(' ')).ToDictionary(
            w => w[0], w => Extents.Merge(w[1..].Select(e => e.Split('+')).Select(e => (long.Parse(e[0]), long.Parse(e[1])))));
    }

    /// <summary>A text as Python writes it.</summary>
    public static string Quoted(string text) => $"bytes.fromhex('{Convert.ToHexString(System.Text.Encoding.UTF8.GetBytes(text))}').decode()";

    /// <summary>What <c>nbdinfo --map</c> says is dirty.</summary>
    public static (long Offset, long Length)[] Map(string uri, string name) =>
        Extents.DirtyOf(Tool.Run("nbdinfo", $"--map={name}", "--json", uri).Expect().Output);
}
