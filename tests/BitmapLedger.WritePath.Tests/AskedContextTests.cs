using System.Diagnostics;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.WritePath.Tests;

/// <summary>What cannot be negotiated, what the log says of it, and what a client may have at most.</summary>
public sealed class AskedContextTests : IDisposable
{
    private const int PerClient = 16;
    private readonly TestContexts _test = new(1 << 20);

    public void Dispose() => _test.Dispose();

    [Fact]
    public void What_the_ledger_refuses_is_said_by_name_and_the_others_are_made()
    {
        _test.Rotate();
        _test.Answers = question => question is ChangedBits { From: "checkpoint:nope" }
            ? new Failed("not-found", "Checkpoint 'nope' of volume 'v' not found")
            : _test.Answer(question);

        var made = _test.Make("changed:lsn:0..now", "changed:checkpoint:nope..now", "changed:lsn:0", "bitmap:b0", "changed:lsn:0..now");

        Assert.Equal(["changed:lsn:0..now", "changed:lsn:0"], made.Select(m => m.Name["x-bitmapledger:".Length..]));
        Assert.Equal(
            [
                "context 'x-bitmapledger:bitmap:b0' of export 'v' is not negotiated with test: 'b0' is no bitmap at a point; write "
                + "NAME@POINT, or qemu:dirty-bitmap:NAME for a bitmap as it is now",
                "context 'x-bitmapledger:changed:checkpoint:nope..now' of export 'v' is not negotiated with test: Checkpoint 'nope' of "
                + "volume 'v' not found",
            ],
            _test.Said);
    }

    [Fact]
    public void Before_the_bits_are_complete_nothing_is_asked_and_nothing_offered()
    {
        _test.Answers = _ => throw new InvalidOperationException("asked");

        Assert.Empty(_test.Make("changed:lsn:0..now"));
        Assert.Empty(_test.List());
        Assert.EndsWith(
            "its bits are not complete yet: the server has not given them since the agent started", Assert.Single(_test.Said),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_server_and_with_one_that_says_nothing_a_client_waits_for_seconds_and_no_longer()
    {
        _test.Rotate();
        _test.Answers = _ => null;
        var started = Stopwatch.StartNew();

        Assert.Empty(_test.Make("changed:lsn:0..now", "changed:lsn:0..lsn:0", "bitmap:b0@now"));

        Assert.InRange(started.Elapsed.TotalSeconds, 4, 20);
        Assert.Equal(3, _test.Said.Count);
        Assert.All(_test.Said, l => Assert.EndsWith("the server did not answer within 5 s", l, StringComparison.Ordinal));
        _test.Shared.Ledger = null;
        Assert.Empty(_test.Make("changed:lsn:0..now"));
        Assert.EndsWith("no server is connected", _test.Said[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void A_client_may_have_sixteen_and_all_clients_together_have_a_bound_too()
    {
        _test.Rotate();
        List<IMetaContext> made = [.. _test.Make([.. Enumerable.Range(0, PerClient + 3).Select(i => $"changed:lsn:0..lsn:{i}")])];

        Assert.Equal(PerClient, made.Count);
        Assert.EndsWith("it is one of 19, and a client may have 16 at a time", Assert.Single(_test.Said), StringComparison.Ordinal);
        while (_test.Said.Count == 1)
            made.AddRange(_test.Make("changed:lsn:0..now"));
        Assert.Equal(256, made.Count);
        Assert.EndsWith("all clients together have 256 of them, and may have no more", _test.Said[1], StringComparison.Ordinal);

        ((IDisposable)made[0]).Dispose();
        ((IDisposable)made[0]).Dispose();
        Assert.Single(_test.Make("changed:lsn:0..now"));
        Assert.Empty(_test.Make("changed:lsn:0..now"));
    }

    [Fact]
    public void The_log_is_bounded_and_text_from_outside_stays_in_its_line()
    {
        _test.Rotate();
        _ = _test.Make("changed:checkpoint:\n\u001b[31m" + new string('x', 60_000), "bitmap:a\nb");
        for (var i = 0; i < 200; i++)
            _ = _test.Make($"change:{i}");

        Assert.Equal(65, _test.Said.Count);
        Assert.Equal("what else test is refused is not said", _test.Said[^1]);
        Assert.All(_test.Said, l => Assert.True(l.Length <= 1100 && !l.Any(char.IsControl), l));
        Assert.Contains("changed:checkpoint:??[31mxxx", _test.Said[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Bits_that_are_damaged_or_not_there_are_no_context()
    {
        _test.Rotate();
        _test.Answers = _ => new BitsFile("none.bits");
        Assert.Empty(_test.Make("changed:lsn:0..now"));
        _test.Answers = _ => new BitsFile(_test.Volumes.Bits.Put([1, 2, 3]));
        Assert.Empty(_test.Make("changed:lsn:0..now"));
        _test.Answers = _ => new BitsFile("../volumes.json");
        Assert.Empty(_test.Make("changed:lsn:0..now"));

        Assert.Equal(3, _test.Said.Count);
        Assert.Empty(_test.BitsFiles);
    }

    [Fact]
    public void Lists_hold_what_a_query_means()
    {
        string[] ranges = ["x-bitmapledger:changed:checkpoint:c..now", "x-bitmapledger:changed:slice:b0/4..now"];
        _test.Rotate();
        _test.Answers = question => question is ListRanges ? new RangeNames(ranges) : _test.Answer(question);

        Assert.Equal(ranges, _test.List());
        Assert.Equal(ranges, _test.List("qemu:", "x-bitmapledger:"));
        Assert.Equal(ranges[1..], _test.List("x-bitmapledger:changed:slice:"));
        Assert.Equal(ranges[..1], _test.List(ranges[0]));
        Assert.Equal(["x-bitmapledger:changed:lsn:0..now"], _test.List("x-bitmapledger:changed:lsn:0..now", "x-bitmapledger:bitmap:b0"));
        Assert.Empty(_test.List("qemu:"));
        Assert.Empty(_test.Said);

        _test.Answers = _ => new Failed("busy", "PostgreSQL is away");
        Assert.Empty(_test.List("x-bitmapledger:"));
        Assert.Equal("contexts of volume 'v' are not listed for test: PostgreSQL is away", Assert.Single(_test.Said));
    }

    [Fact]
    public void A_block_export_shows_what_was_chosen_for_it_and_no_past()
    {
        _test.Rotate();
        var chosen = new ChosenExport(
            new("e", _test.Volume.Spec.Id, "e", Description: null, Writable: true, WriteThrough: false, AllocationDepth: false, []),
            _test.Volume, []);
        var client = _test.Shared.For("test");

        Assert.Empty(client.Make(chosen, ["x-bitmapledger:changed:lsn:0..now"]));
        Assert.Empty(client.List(chosen, []));
        Assert.Contains("a block export shows the bitmaps that were chosen for it", Assert.Single(_test.Said), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_volume_that_is_closed_under_a_context_ends_it_and_nothing_else()
    {
        _test.Rotate();
        var volume = _test.Volume;
        var export = _test.Export;
        var context = _test.Make("changed:lsn:0..now").Single();
        var client = _test.Shared.For("test");
        using var empty = new NativeBitmap(1 << 20, Granularity.Default);
        _test.Answers = _ => new BitsFile(_test.Volumes.Bits.Put(BitmapCodec.Encode(empty)));
        var closing = Task.Run(() => _test.Volumes.Handle(new CloseVolume(volume.Spec.Id, DeleteJournal: false)));
        while (!closing.IsCompleted)
            foreach (var made in client.Make(export, ["x-bitmapledger:changed:lsn:0..now"]))
                ((IDisposable)made).Dispose();
        await closing;

        Assert.Throws<ObjectDisposedException>(() => context.TryDescribe(0, 512, 1, []));
        Assert.Empty(client.Make(export, ["x-bitmapledger:changed:lsn:0..now"]));
        ((IDisposable)context).Dispose();
    }
}
