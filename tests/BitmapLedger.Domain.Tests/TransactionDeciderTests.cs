using System.Text.Json;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Tests;

/// <summary>Transactions over several volumes: order, undoing, texts, and bits of foreign bitmaps.</summary>
public sealed class TransactionDeciderTests : IDisposable
{
    private const long Size = 1 << 20;
    private readonly Script _script = new Script().With("a", Size).With("b", Size).With("small", 1_000_448);

    [Fact]
    public void A_removed_bitmap_is_in_use_until_the_transaction_ends()
    {
        _script.Do(("a", Add("x")));

        Assert.Equal(
            "Bitmap 'x' is currently in use by another operation and cannot be used", Try(("a", Remove("x")), ("a", new VolumeCommand.ClearBitmap("x"))));
        Assert.Equal(
            "Bitmap 'x' is currently in use by another operation and cannot be used", Try(("a", Remove("x")), ("b", Add("y")), ("b", From("y", "a", "x"))));
        Assert.Equal("Bitmap already exists: x", Try(("a", Remove("x")), ("a", Add("x"))));
        Assert.NotNull(_script["a"].Bitmap("x"));
        Assert.Null(Try(("a", Add("y")), ("a", From("y", "a", "x")), ("a", Remove("x"))));
        Assert.Equal(["y"], _script["a"].Bitmaps.Select(b => b.Name));
    }

    // Bits of one volume, changed twice in the same list, go to another and from there on to a third.
    [Fact]
    public void Foreign_bits_are_those_of_their_place_in_the_list()
    {
        _script.Do(("a", Add("x", 4096)), ("a", Add("coarse", 131072)), ("b", Add("y", 512)), ("b", Add("z")));
        _script.Write("a", (0, 1), (500_000, 1));

        _script.Do(
            ("b", From("y", "a", "x")), ("a", new VolumeCommand.ClearBitmap("x")), ("b", From("z", "a", "x")),
            ("a", From("x", "b", "y")), ("a", new VolumeCommand.ResizeVolume(Size * 2)), ("b", new VolumeCommand.ResizeVolume(Size * 2)),
            ("b", From("z", "a", "coarse")));

        Assert.Equal([new(0, 4096), new(499_712, 4096)], _script.Bits("b", "y").Extents());
        Assert.Equal([new(0, 4096), new(499_712, 4096)], _script.Bits("a", "x").Extents());
        Assert.Equal([new(0, 131072), new(393_216, 131_072)], _script.Bits("b", "z").Extents());
        var merged = _script.Happened.OfType<BitmapMerged>().Last();
        Assert.Equal(("coarse", "a", 131072L), (merged.Sources[0].Name, merged.Sources[0].Volume, merged.Sources[0].Granularity));
    }

    [Fact]
    public void What_is_needed_is_named_as_it_was_before()
    {
        _script.Do(("a", Add("x")), ("a", Add("w")), ("b", Add("y")));
        VolumeAction[] actions =
        [
            new(_script.Id("a"), new VolumeCommand.MergeBitmap("x", [new("w")])),
            new(_script.Id("a"), new VolumeCommand.ClearBitmap("w")),
            new(_script.Id("b"), new VolumeCommand.MergeBitmap("y", [new("x", _script.Id("a")), new("w", _script.Id("a"))])),
        ];
        VolumePlace[] places = [.. ((string[])["a", "b"]).Select(v => new VolumePlace(_script[v] with { Id = _script.Id(v) }, 0, default))];

        var decision = TransactionDecider.Decide(actions, places);
        var again = TransactionDecider.Decide(actions, places);

        Assert.Equal([("w", _script.Id("a")), ("x", _script.Id("a"))], decision.Needed.Select(n => (n.Name, n.Volume)).OrderBy(n => n.Name));
        Assert.Equal(Shown(decision), Shown(again));
        Assert.Throws<InvalidOperationException>(() => BitTransfer.Of(places[1].State, decision.Volumes[1].Events));
    }

    [Fact]
    public void Merges_of_other_sizes_and_of_what_is_not_there_are_refused_in_the_words_of_qemu()
    {
        _script.Do(("a", Add("x")), ("small", Add("s")));

        Assert.Equal(
            "Bitmaps are of different sizes (destination size is 1048576, source size is 1000448) and can't be merged",
            Try(("a", From("x", "small", "s"))));
        Assert.Equal("Dirty bitmap 'nope' not found", Try(("a", From("x", "a", "nope"))));
        Assert.Equal("Dirty bitmap 'nope' not found", Try(("a", From("nope", "small", "s"))));
        Assert.Null(Try(("a", new VolumeCommand.MergeBitmap("x", []))));
        Assert.Empty(_script.Happened);
    }

    [Fact]
    public void Busy_comes_before_read_only_and_that_before_inconsistent()
    {
        Import("rw", new(false, true));
        Import("ro", new(false, true, ReadOnly: true, Inconsistent: true));
        Import("bad", new(false, true, Inconsistent: true));
        Import("frozen", new(false, true, ReadOnly: true));

        Assert.Equal("Bitmap 'ro' is readonly and cannot be modified", Try(("a", new VolumeCommand.ClearBitmap("ro"))));
        Assert.Equal("Bitmap 'ro' is readonly and cannot be modified", Try(("a", Remove("ro"))));
        Assert.Equal("Bitmap 'bad' is inconsistent and cannot be used", Try(("a", new VolumeCommand.EnableBitmap("bad"))));
        Assert.Equal("Bitmap 'bad' is inconsistent and cannot be used", Try(("a", From("rw", "a", "bad"))));
        Assert.Equal("Bitmap 'frozen' is readonly and cannot be modified", Try(("a", From("frozen", "a", "rw"))));
        Assert.Equal("Bitmap 'bad' is inconsistent and cannot be used", Try(("a", new VolumeCommand.ResizeVolume(512))));
        Assert.Null(Try(("a", new VolumeCommand.DisableBitmap("frozen"))));
        Assert.Null(Try(("a", From("rw", "a", "frozen"))));
        _script.Do(("a", new VolumeCommand.StartBackup("j", "bitmap", ["frozen"], "never")));
        Assert.Equal(
            "Bitmap 'frozen' is currently in use by another operation and cannot be used", Try(("a", new VolumeCommand.ClearBitmap("frozen"))));
        Assert.Null(Try(("a", Remove("bad"))));
        Assert.False(_script["a"].Bitmap("ro")!.Recording);
    }

    [Theory]
    [InlineData("incremental", null, "", "must provide a valid bitmap name for 'incremental' sync mode")]
    [InlineData("bitmap", null, "", "must provide a valid bitmap name for 'bitmap' sync mode")]
    [InlineData("incremental", "always", "bitmap404", "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'")]
    [InlineData("bitmap", null, "bitmap404", "Bitmap 'bitmap404' could not be found")]
    [InlineData("bitmap", null, "x", "Bitmap sync mode must be given when providing a bitmap")]
    [InlineData("full", "always", "", "Cannot specify bitmap sync mode without a bitmap")]
    [InlineData("none", "always", "x", "sync mode 'none' does not produce meaningful bitmap outputs")]
    [InlineData("full", "never", "x", "Bitmap sync mode 'never' has no meaningful effect when combined with sync mode 'full'")]
    [InlineData("top", "never", "x", "Bitmap sync mode 'never' has no meaningful effect when combined with sync mode 'top'")]
    [InlineData("partial", null, "x", "Parameter 'slice' is missing")]
    [InlineData("zzz", null, "", "Parameter 'sync' does not accept value 'zzz'")]
    public void Backups_that_cannot_be_are_refused_in_the_words_of_qemu(string sync, string? mode, string bitmap, string message)
    {
        _script.Do(("a", Add("x")));

        Assert.Equal(message, Try(("a", new VolumeCommand.StartBackup("j", sync, bitmap.Length == 0 ? [] : [bitmap], mode))));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1_000_000)]
    public void Sizes_are_multiples_of_512(long size) =>
        Assert.Equal("The new size must be a multiple of 512", Try(("a", new VolumeCommand.ResizeVolume(size))));

    [Fact]
    public void A_volume_cannot_be_resized_while_a_job_runs()
    {
        _script.Do(("a", new VolumeCommand.StartBackup("j", "full", [])));

        Assert.StartsWith(
            "Permission conflict on node 'a': permissions 'resize' are both required by ", Try(("a", new VolumeCommand.ResizeVolume(512))),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Imported_bits_must_fit_the_volume()
    {
        using var other = new NativeBitmap(Size * 2, Granularity.Default);

        Assert.Contains("are for 2097152 bytes", Import(BitmapCodec.Encode(other)), StringComparison.Ordinal);
        Assert.Contains("cannot be read", Import([1, 2]), StringComparison.Ordinal);

        string? Import(byte[] bits) => Try(("a", new VolumeCommand.ImportBitmap("x", 65536, new(false, true), bits, "t")));
    }

    [Fact]
    public void A_refusal_says_which_action_it_was_and_leaves_every_volume_as_it_was()
    {
        VolumePlace[] places = [.. ((string[])["a", "b"]).Select(v => new VolumePlace(_script[v] with { Id = _script.Id(v) }, 0, default))];

        var decision = TransactionDecider.Decide(
            [new(_script.Id("a"), Add("x")), new(_script.Id("b"), Remove("nope")), new(default, new VolumeCommand.Abort())], places);

        Assert.Equal((1, "Dirty bitmap 'nope' not found"), (decision.Refused, decision.Refusal!.Message));
        Assert.All(decision.Volumes.Zip(places), v => Assert.Same(v.Second.State, v.First.After));
        Assert.All(decision.Volumes, v => Assert.Empty(v.Events));
    }

    public void Dispose() => _script.Dispose();

    private string? Try(params (string Volume, VolumeCommand Command)[] actions) => _script.Try(actions)?.Message;

    private void Import(string name, ImportFlags flags)
    {
        using var bits = new NativeBitmap(Size, Granularity.Default);
        bits.MarkDirty(0, 1);
        _script.Do(("a", new VolumeCommand.ImportBitmap(name, 65536, flags, BitmapCodec.Encode(bits), "a test")));
    }

    private VolumeCommand.MergeBitmap From(string target, string volume, string name) => new(target, [new(name, _script.Id(volume))]);

    private static VolumeCommand.AddBitmap Add(string name, long? granularity = null) => new(name, granularity, false, true);

    private static VolumeCommand.RemoveBitmap Remove(string name) => new(name);

    private static string Shown(TransactionDecision decision) => string.Join(
        '\n', decision.Volumes.SelectMany(v => v.Events).Select(e => JsonSerializer.Serialize(e, e.GetType())))
        + JsonSerializer.Serialize(decision.Foreign);
}
