using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;
using CsCheck;

namespace BitmapLedger.Domain.Tests;

/// <summary>Bits, the terms that say what they are made of, and the flows of a settlement are three ways to say one
/// thing.</summary>
public sealed class BitmapAlgebraTests
{
    // Method: random writes, losses and commands (merges at all granularities, resizes, banks, deletions, cycles, jobs and their
    // ends); after each step a naive model of bool arrays is compared with the fold, with the terms evaluated against the
    // stream, with the flows applied, and with the union from each slice to now.
    [Fact]
    public void Fold_terms_and_flows_equal_a_naive_model_after_every_step_of_a_random_history() =>
        Gen.Int[0, int.MaxValue].Sample(seed =>
        {
            using var walk = new HistoryWalk(seed);
            for (var step = 0; step < 50; step++)
            {
                walk.Step();
                walk.CheckAll();
            }
        }, iter: 60);

    [Fact]
    public void Bits_that_only_ever_recorded_and_were_banked_are_one_term_each()
    {
        var bits = BitExpression.Since(3, 65536);
        for (var n = 5; n < 100; n += 2)
            bits = bits.Until(n).With(BitExpression.Since(n, 65536));

        Assert.Equal("3../65536", bits.ToString());
        Assert.Equal(
            "1..9/4096 3../65536<131072",
            BitExpression.Parse("5..9/4096 3../65536<131072 1..5/4096 2..4/4096 7..8/512").ToString());
    }

    [Theory]
    [InlineData("3../65536")]
    [InlineData("3..17/4096<10240/65536 #7.2/512<1024")]
    public void An_expression_reads_back_from_its_text(string text) => Assert.Equal(text, BitExpression.Parse(text).ToString());

    [Theory]
    [InlineData("3..")]
    [InlineData("x../512")]
    [InlineData("3..4/")]
    [InlineData("#7/512")]
    public void What_is_no_expression_is_no_expression(string text) =>
        Assert.Throws<FormatException>(() => BitExpression.Parse(text));

    // A cut at a granularity that a coarser one cannot express must not be forgotten, nor made too early.
    [Fact]
    public void A_cut_before_a_coarsening_merge_is_made_before_it()
    {
        var path = new BitPath(4096).Shrunk(4096, 10_240).Merged(4096, 65536, 1 << 20);

        Assert.Null(path.Carry(new Extent(20_000, 1)));
        Assert.Equal(new Extent(0, 65536), path.Carry(new Extent(12_000, 1)));
        Assert.Equal("/4096<12288/65536", path.ToString());
    }

    [Fact]
    public void The_last_coarse_block_does_not_reach_behind_the_old_end_in_a_fine_bitmap()
    {
        var path = new BitPath(65536).Merged(65536, 512, 100_352);

        Assert.Equal(new Extent(65536, 100_352 - 65536), path.Carry(new Extent(70_000, 1)));
        Assert.Equal(new Extent(0, 65536), path.Carry(new Extent(0, 1)));
    }
}
