using BitmapLedger.Bitmaps;
using BitmapLedger.Testing;
using BitmapLedger.WritePath.Control;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.WritePath.Tests;

/// <summary><c>agent/volumes.json</c>: what an Agent that starts alone offers.</summary>
public sealed class VolumeFileTests : IDisposable
{
    private readonly ScratchDirectory _scratch = new();
    private readonly List<string> _said = [];
    private readonly string _list;

    public VolumeFileTests()
    {
        File.WriteAllBytes(_scratch["v.img"], new byte[1 << 20]);
        _list = Path.Combine(Directory.CreateDirectory(_scratch["agent"]).FullName, "volumes.json");
        // As version 1 wrote it.
        File.WriteAllText(_list, $$"""
            [{"id":"0190a000-0000-7000-8000-000000000008","name":"v","file":"{{_scratch["v.img"]}}","size":1048576,"read_only":false,
            "durability":"power","when_full":"fail","journal_quota":67108864,"min_lsn":7}]
            """);
    }

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public void A_list_of_version_1_is_read_and_written_in_version_2()
    {
        using (var volumes = Recover())
        {
            Assert.Equal(["v"], volumes.List().Select(e => e.Name));
            _ = volumes.Handle(new Contracts.Control.PublishVolume(Guid.Parse("0190a000-0000-7000-8000-000000000008")));
        }

        Assert.StartsWith("""{"version":2,"crc32c":""", File.ReadAllText(_list), StringComparison.Ordinal);
        using var again = Recover();
        Assert.Equal(["v"], again.List().Select(e => e.Name));
        Assert.Empty(_said);
    }

    [Theory]
    [InlineData("")]
    [InlineData("[{")]
    [InlineData("{}")]
    [InlineData("5")]
    [InlineData("""{"version":2}""")]
    [InlineData("""{"version":2,"crc32c":1,"volumes":[]}""")]
    [InlineData("""{"version":"2","crc32c":1,"volumes":{}}""")]
    public void A_list_that_is_damaged_is_named_and_offers_nothing(string text)
    {
        File.WriteAllText(_list, text);

        using var volumes = Recover();

        Assert.Empty(volumes.List());
        Assert.Contains($"{_list} is damaged at byte", Assert.Single(_said), StringComparison.Ordinal);
    }

    [Fact]
    public void A_list_of_a_later_version_is_refused_by_its_version()
    {
        File.WriteAllText(_list, """{"version":9}""");

        Assert.Contains($"{_list} is of version 9", Assert.Throws<FormatVersionException>(() => Recover().Dispose()).Message, StringComparison.Ordinal);
    }

    private VolumeSet Recover()
    {
        var volumes = new VolumeSet(_scratch.Path, Machine.This());
        try
        {
            volumes.Recover(_said.Add);
            return volumes;
        }
        catch
        {
            volumes.Dispose();
            throw;
        }
    }
}
