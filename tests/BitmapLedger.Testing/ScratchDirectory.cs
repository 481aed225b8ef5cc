namespace BitmapLedger.Testing;

/// <summary>A private directory that goes when the test goes. Its path is short: sockets in it must fit into 107
/// bytes.</summary>
public sealed class ScratchDirectory : IDisposable
{
    public ScratchDirectory()
    {
        Path = Directory.CreateTempSubdirectory("bml-").FullName;
    }

    public string Path { get; }

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose()
    {
        // What a killed daemon still has open may be made anew while the tree is walked.
        for (var attempt = 0; Directory.Exists(Path); attempt++)
        {
            try
            {
                Directory.Delete(Path, recursive: true);
            }
            catch (IOException) when (attempt < 5)
            {
            }
        }
    }
}
