using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>What a server answered.</summary>
internal sealed record ApiAnswer(int Status, string Text, string? Tag, string? ContentType)
{
    public JsonElement Json => JsonDocument.Parse(Text).RootElement;

    /// <summary>Each line of a stream.</summary>
    public IReadOnlyList<JsonElement> Lines => [.. Text.TrimEnd('\n').Split('\n').Select(l => JsonDocument.Parse(l).RootElement)];

    /// <summary>This answer, or a failure that shows it.</summary>
    public ApiAnswer Expect(int status = 200) => Status == status
        ? this
        : throw new InvalidOperationException($"answered {Status}, expected {status}: {Text}");
}

/// <summary>HTTP over a ledger's unix socket, as curl does it.</summary>
internal sealed class Api : IDisposable
{
    private readonly HttpClient _http;

    public Api(Ledger ledger)
    {
        var socketPath = Path.Combine(ledger.DataDirectory, "run", "api.sock");
        _http = new(new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), cancellation);
                return new NetworkStream(socket, ownsSocket: true);
            },
        })
        {
            BaseAddress = new("http://x"),
            Timeout = TimeSpan.FromMinutes(3),
        };
    }

    public Task<ApiAnswer> GetAsync(string path, params IEnumerable<string> headers) => SendAsync("GET", path, body: null, headers);

    /// <summary>Sends a request; headers are written <c>Name: value</c>.</summary>
    public async Task<ApiAnswer> SendAsync(string method, string path, string? body, params IEnumerable<string> headers)
    {
        using var request = Request(method, path, headers);
        if (body is not null)
            request.Content = new StringContent(body, Encoding.UTF8, new MediaTypeHeaderValue("application/json"));
        using var response = await _http.SendAsync(request);
        return new(
            (int)response.StatusCode, await response.Content.ReadAsStringAsync(),
            response.Headers.TryGetValues("ETag", out var tags) ? tags.Single() : null, response.Content.Headers.ContentType?.MediaType);
    }

    /// <summary>Opens a stream of lines, which the caller disposes.</summary>
    public async Task<StreamReader> OpenAsync(string path, params IEnumerable<string> headers)
    {
        using var request = Request("GET", path, headers);
        var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        response.EnsureSuccessStatusCode();
        return new(await response.Content.ReadAsStreamAsync());
    }

    public void Dispose() => _http.Dispose();

    private static HttpRequestMessage Request(string method, string path, IEnumerable<string> headers)
    {
        var request = new HttpRequestMessage(new(method), new Uri(path, UriKind.Relative));
        foreach (var header in headers)
            request.Headers.TryAddWithoutValidation(header.Split(": ", 2)[0], header.Split(": ", 2)[1]);
        return request;
    }
}
