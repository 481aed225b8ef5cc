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

    public ApiClient(DataDirectory directory, string? commandId)
    {
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
            BaseAddress = new("http://bml/"),
            Timeout = TimeSpan.FromMinutes(60),
        };
        _http.DefaultRequestHeaders.UserAgent.Add(new("bml", ProgramVersion.Text));
    }

    public Task<string> GetAsync(string path) => SendAsync(HttpMethod.Get, path, body: null);

    public Task<string> DeleteAsync(string path) => SendAsync(HttpMethod.Delete, path, body: null);

    public Task<string> PostAsync<T>(string path, T body, JsonTypeInfo<T> type) =>
        SendAsync(HttpMethod.Post, path, JsonSerializer.Serialize(body, type));

    public Task<string> PostAsync(string path) => SendAsync(HttpMethod.Post, path, body: null);

    public Task<string> PatchAsync<T>(string path, T body, JsonTypeInfo<T> type) =>
        SendAsync(HttpMethod.Patch, path, JsonSerializer.Serialize(body, type));

    public Task<string> GetLinesAsync(string path) =>
        SendAsync(HttpMethod.Get, path, body: null, "application/x-ndjson");

    public void Dispose() => _http.Dispose();

    /// <summary>A reply that was lost is asked for again, under the same id: the server knows what it has done.</summary>
    private async Task<string> SendAsync(
        HttpMethod method, string path, string? body, string accept = "application/json")
    {
        var lostAt = 0L;
        while (true)
        {
            try
            {
                return await TrySendAsync(method, path, body, accept);
            }
            catch (HttpRequestException away) when (lostAt != 0 || away.HttpRequestError != HttpRequestError.ConnectionError)
            {
                lostAt = lostAt == 0 ? Stopwatch.GetTimestamp() : lostAt;
                if (Stopwatch.GetElapsedTime(lostAt) > _lostLimit)
                    throw new CliException(
                        ErrorCode.Busy, $"the server ended before its reply and does not come back: {away.GetBaseException().Message}",
                        $"ask again with --command-id {_commandId}: what was done is not done twice");
                await Task.Delay(_pause);
            }
            catch (HttpRequestException away)
            {
                throw new CliException(
                    ErrorCode.Busy, $"the server is not reachable: {away.GetBaseException().Message}",
                    "start it with: bml serve");
            }
        }
    }

    private async Task<string> TrySendAsync(HttpMethod method, string path, string? body, string accept)
    {
        using var request = new HttpRequestMessage(method, path);
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue(accept));
        if (method != HttpMethod.Get)
            request.Headers.Add("Idempotency-Key", _commandId);
        if (body is not null)
            request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        using var response = await _http.SendAsync(request);
        var text = await response.Content.ReadAsStringAsync();
        return response.IsSuccessStatusCode ? text : throw Failure(text, (int)response.StatusCode);
    }

    private static CliException Failure(string text, int status)
    {
        try
        {
            if (JsonSerializer.Deserialize(text, ApiJson.Default.Problem) is { Code: not null } problem)
                return new(problem.Code, problem.Detail, problem.Hint);
        }
        catch (JsonException)
        {
            // Not of ours: a proxy, or a server of another version.
        }

        return new(ErrorCode.Failed, $"the server answered {status} {text}".TrimEnd());
    }
}
