using System.CommandLine;
using System.Net.Sockets;
using System.Text;
using BitmapLedger.Contracts;
using BitmapLedger.Hosting;

namespace BitmapLedger.Cli.Tests;

/// <summary>A stream of lines that ends before the line that says it is whole.</summary>
public sealed class CutStreamTests
{
    private const string Head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n";

    /// <summary>One that ends with its connection, and one whose chunks do not end.</summary>
    private static readonly string[] _cutReplies =
        [Head + "Connection: close\r\n\r\n{\"offset\":0}\n", Head + "Transfer-Encoding: chunked\r\n\r\n16\r\n{\"offset\":0}\n"];

    [Theory]
    [InlineData("changed v --from start --jsonl", false)]
    [InlineData("blame v --offset 0 --jsonl", false)]
    [InlineData("history v --jsonl", true)]
    [InlineData("projection step v union-tree --from start --jsonl", true)]
    public async Task Only_an_answer_made_of_events_in_their_order_is_gone_on_with_from_an_event(string line, bool goesOn)
    {
        foreach (var reply in _cutReplies)
        {
            var cut = await CutAsync(line, reply);
            Assert.Equal(ErrorCode.Busy, cut.Code);
            Assert.StartsWith("the server went away in the middle of the ", cut.Message, StringComparison.Ordinal);
            Assert.Equal(goesOn, cut.Hint!.Contains("event", StringComparison.Ordinal));
        }
    }

    private static async Task<CliException> CutAsync(string line, string reply)
    {
        var scratch = Directory.CreateTempSubdirectory("bml");
        try
        {
            var directory = DataDirectory.At(scratch.FullName);
            Directory.CreateDirectory(Path.GetDirectoryName(directory.ApiSocket)!);
            using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            listener.Bind(new UnixDomainSocketEndPoint(directory.ApiSocket));
            listener.Listen();
            var replying = ReplyAsync(listener, reply);

            var parsed = new CommandLine().Parse([.. line.Split(' '), "--data-dir", scratch.FullName]);
            var cut = await Assert.ThrowsAsync<CliException>(() => parsed.InvokeAsync(
                new InvocationConfiguration { EnableDefaultExceptionHandler = false }, TestContext.Current.CancellationToken));
            await replying;
            return cut;
        }
        finally
        {
            scratch.Delete(recursive: true);
        }
    }

    private static async Task ReplyAsync(Socket listener, string reply)
    {
        using var client = await listener.AcceptAsync(TestContext.Current.CancellationToken);
        await client.ReceiveAsync(new byte[8192], TestContext.Current.CancellationToken);
        await client.SendAsync(Encoding.ASCII.GetBytes(reply), TestContext.Current.CancellationToken);
    }
}
