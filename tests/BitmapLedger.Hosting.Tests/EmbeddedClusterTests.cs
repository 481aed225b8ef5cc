using BitmapLedger.Testing;

namespace BitmapLedger.Hosting.Tests;

public sealed class EmbeddedClusterTests
{
    [Fact]
    public async Task A_cluster_is_made_found_again_killed_and_started_without_a_manual_step()
    {
        using var scratch = new ScratchDirectory();
        var directory = DataDirectory.At(scratch["d"]);
        directory.Create();
        var cluster = new EmbeddedCluster(directory, PostgresPrograms.Find());
        try
        {
            await cluster.StartAsync(CancellationToken.None);
            var first = cluster.ProcessId;
            await new EmbeddedCluster(directory, PostgresPrograms.Find()).StartAsync(CancellationToken.None);
            Assert.Equal(first, cluster.ProcessId);
            Assert.Equal($"{first}", File.ReadAllText(directory.PidFile("postgres")).Trim());

            ProcessId.Kill(first!.Value);
            // The kernel takes a killed process apart in its own time; until then it is found running.
            Assert.True(SpinWait.SpinUntil(() => !ProcessId.IsAlive(first.Value), TimeSpan.FromMinutes(1)));
            await cluster.StartAsync(CancellationToken.None);

            Assert.NotEqual(first, cluster.ProcessId);
            var answer = Tool.Run(
                "psql", "-h", scratch["d/postgres/run"], "-U", "postgres", "-d", "bitmapledger", "-At", "-c",
                "show fsync; show listen_addresses").Expect();
            Assert.Equal("on\n\n", answer.Output);
        }
        finally
        {
            await cluster.StopAsync(CancellationToken.None);
        }

        Assert.Null(cluster.ProcessId);
    }

    [Fact]
    public void A_second_holder_of_a_data_directory_is_told_who_has_it()
    {
        using var scratch = new ScratchDirectory();
        var directory = DataDirectory.At(scratch["d"]);
        directory.Create();
        using var held = DataDirectoryLock.Take(directory);

        var refusal = Assert.Throws<HostingException>(() => DataDirectoryLock.Take(directory));

        Assert.Equal("busy", refusal.Code);
        Assert.Contains($"process {Environment.ProcessId}", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_data_directory_whose_sockets_would_not_fit_is_refused_by_the_path_of_the_socket()
    {
        using var scratch = new ScratchDirectory();

        var refusal = Assert.Throws<HostingException>(() => DataDirectory.At(scratch[new('x', 90)]).Create());

        Assert.Contains("api.sock", refusal.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(scratch[new('x', 90)]));
    }
}
