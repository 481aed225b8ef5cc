using System.Net.Sockets;
using BitmapLedger.Contracts;
using BitmapLedger.Ledger.Storing;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;

namespace BitmapLedger.Ledger.Tests;

/// <summary>What counts as an outage, and that a watch says when it begins and ends.</summary>
public sealed class PostgresWatchTests(PostgresFixture postgres)
{
    [Theory]
    [InlineData("53100")]
    [InlineData("53200")]
    [InlineData("53300")]
    [InlineData("57P01")]
    [InlineData("57P02")]
    [InlineData("57P03")]
    [InlineData("08006")]
    [InlineData("58030")]
    [InlineData("25006")]
    public void A_server_without_room_or_about_to_end_is_an_outage(string state) =>
        Assert.True(PostgresWatch.IsOutage(new InvalidOperationException("wrapped", Refusal(state))));

    [Theory]
    [InlineData("28P01")]
    [InlineData("3D000")]
    [InlineData("42501")]
    [InlineData("42P01")]
    [InlineData("23505")]
    public void A_server_that_says_no_is_none(string state) => Assert.False(PostgresWatch.IsOutage(Refusal(state)));

    [Fact]
    public void A_cut_connection_is_an_outage_and_a_fault_of_ours_is_none()
    {
        Assert.True(PostgresWatch.IsOutage(new NpgsqlException("cut", new IOException("end"))));
        Assert.True(PostgresWatch.IsOutage(new SocketException(111)));
        Assert.False(PostgresWatch.IsOutage(new IOException("a file")));
        Assert.False(PostgresWatch.IsOutage(new InvalidOperationException("a bug")));
    }

    [Fact]
    public async Task Work_is_done_while_postgres_answers_and_is_busy_at_once_where_it_does_not()
    {
        using var there = new PostgresWatch(await postgres.DatabaseAsync(), TimeProvider.System, NullLogger<PostgresWatch>.Instance);
        using var away = new PostgresWatch("Host=/nowhere", TimeProvider.System, NullLogger<PostgresWatch>.Instance);
        var done = 0;

        await there.WithAsync(_ => Task.FromResult(++done), CancellationToken.None);
        var busy = await Assert.ThrowsAsync<LedgerException>(
            () => away.WithAsync(_ => Task.FromResult(++done), CancellationToken.None));

        Assert.Equal(1, done);
        Assert.Equal(ErrorCode.Busy, busy.Code);
        Assert.Contains("PostgreSQL is away", busy.Message, StringComparison.Ordinal);
        Assert.Contains("journaled", busy.Hint, StringComparison.Ordinal);
        Assert.NotNull(away.Reason);
        Assert.Null(there.Reason);
    }

    private static PostgresException Refusal(string state) => new("no", "ERROR", "ERROR", state);
}
