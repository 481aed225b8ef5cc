using System.Diagnostics;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using BitmapLedger.Contracts;
using BitmapLedger.Hosting;

namespace BitmapLedger.Cli;

/// <summary>Asks the server over its unix socket.</summary>
internal sealed class ApiClient : IDisposable
{
    /// <summary>A server that was killed is back long before.</summary>
    private static readonly TimeSpan _lostLimit = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan _pause = TimeSpan.FromMilliseconds(100);

    private readonly HttpClient _http;
    private readonly string _commandId;
    private readonly string _socket;
    private readonly CancellationToken _cancellation;

    public ApiClient(DataDirectory directory, string? commandId, CancellationToken cancellation)
    {
        directory.RequireShortPath();
        _socket = directory.ApiSocket;
        _cancellation = cancellation;
        // An id of our own makes a retry after a lost reply safe.
        _commandId = commandId ?? Guid.CreateVersion7().ToString("D");
        _http = new(new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(new UnixDomainSocketEndPoint(directory.ApiSocket), cancellation);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
        })
        {
            Timeout = TimeSpan.FromMinutes(60),
        };
        _http.DefaultRequestHeaders.UserAgent.Add(new("bml", ProgramVersion.Text));
    }

    public Task<string> GetAsync(string path) => SendAsync(HttpMethod.Get, path, body: null);

    public Task<string> DeleteAsync(string path) => SendAsync(HttpMethod.Delete, path, body: null);

    public Task<string> PostAsync<T>(string path, T body, JsonTypeInfo<T> type) =>
        SendAsync(HttpMethod.Post, path, JsonSerializer.Serialize(body, type));

    public Task<string> PostAsync(string path) => SendAsync(HttpMethod.Post, path, body: null);

    public Task<string> PutAsync<T>(string path, T body, JsonTypeInfo<T> type) =>
        SendAsync(HttpMethod.Put, path, JsonSerializer.Serialize(body, type));

    public Task<string> PatchAsync<T>(string path, T body, JsonTypeInfo<T> type) =>
        SendAsync(HttpMethod.Patch, path, JsonSerializer.Serialize(body, type));

    /// <summary>A stream of lines, each as soon as the server sends it. One that the server cuts off ends: that it is whole, its last
    /// line says.</summary>
    public async IAsyncEnumerable<string> GetLinesAsync(string path)
    {
        using var request = Request(HttpMethod.Get, path, body: null, "application/x-ndjson");
        using var response = await ReachAsync(request);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(_cancellation));
        while (await NextLineAsync(reader) is { } line)
            yield return line;
    }

    public void Dispose() => _http.Dispose();

    /// <summary>A reply that was lost is asked for again, under the same id: the server knows what it has done.</summary>
    private async Task<string> SendAsync(HttpMethod method, string path, string? body)
    {
        var lostAt = 0L;
        while (true)
        {
            try
            {
                using var request = Request(method, path, body, "application/json");
                using var response = await SendAsync(request, HttpCompletionOption.ResponseContentRead);
                return await response.Content.ReadAsStringAsync(_cancellation);
            }
            catch (HttpRequestException away) when (lostAt != 0 || away.HttpRequestError != HttpRequestError.ConnectionError)
            {
                lostAt = lostAt == 0 ? Stopwatch.GetTimestamp() : lostAt;
                if (Stopwatch.GetElapsedTime(lostAt) > _lostLimit)
                    throw new CliException(
                        ErrorCode.Busy, $"the server ended before its reply and does not come back: {away.GetBaseException().Message}",
                        $"ask again with --command-id {_commandId}: what was done is not done twice");
                await Task.Delay(_pause, _cancellation);
            }
            catch (HttpRequestException away)
            {
                throw Away(away);
            }
        }
    }

    private HttpRequestMessage Request(HttpMethod method, string path, string? body, string accept)
    {
        // Names are whole segments of a path, `..` too: nothing may be made shorter on the way.
        var uri = new Uri("http://bml/" + path, new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true });
        var request = new HttpRequestMessage(method, uri);
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue(accept));
        if (method != HttpMethod.Get)
            request.Headers.Add("Idempotency-Key", _commandId);
        if (body is not null)
            request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        return request;
    }

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, HttpCompletionOption completion)
    {
        try
        {
            var response = await _http.SendAsync(request, completion, _cancellation);
            if (response.IsSuccessStatusCode)
                return response;
            using (response)
                throw Failure(await response.Content.ReadAsStringAsync(_cancellation), (int)response.StatusCode);
        }
        catch (TaskCanceledException late) when (!_cancellation.IsCancellationRequested)
        {
            throw new CliException(ErrorCode.Busy, $"the server at '{_socket}' did not answer: {late.Message}", "try again");
        }
    }

    private async Task<HttpResponseMessage> ReachAsync(HttpRequestMessage request)
    {
        try
        {
            return await SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        }
        catch (HttpRequestException away)
        {
            throw Away(away);
        }
    }

    private async Task<string?> NextLineAsync(StreamReader reader)
    {
        try
        {
            return await reader.ReadLineAsync(_cancellation);
        }
        catch (Exception cut) when (cut is IOException or HttpRequestException)
        {
            return null;
        }
    }

    private CliException Away(Exception failure) => new(
        ErrorCode.Busy, $"the server at '{_socket}' is not reachable: {Reason(failure.GetBaseException())}",
        "start it with: bml serve, or name another --data-dir");

    /// <summary>.NET calls a missing socket an address that cannot be assigned.</summary>
    private static string Reason(Exception failure) =>
        failure is SocketException { SocketErrorCode: SocketError.AddressNotAvailable } ? "there is no such socket" : failure.Message;

    private static CliException Failure(string text, int status)
    {
        try
        {
            if (JsonSerializer.Deserialize(text, ApiJson.Default.Problem) is { Code: not null } problem)
                return new(problem.Code, problem.Detail, problem.Hint, problem.KeptFrom);
        }
        catch (JsonException)
        {
            // Not of ours: a proxy, or a server of another version.
        }

        return new(ErrorCode.Failed, $"the server answered {status} {text}".TrimEnd());
    }
}
