using BitmapLedger.Contracts.Answers;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace BitmapLedger.Server;

/// <summary>What <c>/openapi/v1.json</c> says beyond what routes and types tell by themselves.</summary>
internal static class ApiDocument
{
    private static readonly string _version = typeof(ApiDocument).Assembly.GetName().Version!.ToString(3);

    public static void Configure(OpenApiOptions options)
    {
        options.OpenApiVersion = OpenApiSpecVersion.OpenApi3_1;
        options.AddDocumentTransformer((document, _, _) =>
        {
            document.Info = new()
            {
                Title = "BitmapLedger",
                Version = _version,
                Description = "Dirty bitmaps with history. Points are written as the command line has them: now, start, event:N, lsn:N, "
                    + "checkpoint:NAME, slice:BITMAP/N, an RFC 3339 instant, -5m.",
            };
            document.Servers = [];
            document.Components ??= new();
            document.Components.SecuritySchemes = new Dictionary<string, IOpenApiSecurityScheme>
            {
                ["token"] = new OpenApiSecurityScheme
                {
                    Type = SecuritySchemeType.Http,
                    Scheme = "bearer",
                    Description = "Over TCP, the text of run/http.token; the unix socket run/api.sock wants none.",
                },
            };
            document.Security = [new() { [new OpenApiSecuritySchemeReference("token", document)] = [] }];
            return Task.CompletedTask;
        });
        options.AddOperationTransformer(DescribeAsync);
    }

    /// <summary>Names the type of a request's body, which the endpoint reads by itself.</summary>
    public static RouteHandlerBuilder Takes<T>(this RouteHandlerBuilder endpoint) => endpoint.WithMetadata(new BodyOf(typeof(T)));

    private static async Task DescribeAsync(
        OpenApiOperation operation, OpenApiOperationTransformerContext context, CancellationToken cancellation)
    {
        var metadata = context.Description.ActionDescriptor.EndpointMetadata;
        if (metadata.OfType<BodyOf>().FirstOrDefault() is { } body)
            operation.RequestBody = new OpenApiRequestBody
            {
                Required = true,
                Content = new Dictionary<string, OpenApiMediaType>
                {
                    ["application/json"] = new() { Schema = await SchemaAsync(body.Type) },
                },
            };
        if (context.Description.HttpMethod is { } method && !HttpMethods.IsGet(method))
        {
            Header("Idempotency-Key", "Id of the command: sent twice it acts once, and answers the same.");
            Header("If-Match", "Number of the event that the command was thought out at; 412 when somebody else commanded since.");
        }

        operation.Responses ??= [];
        operation.Responses["default"] = new OpenApiResponse
        {
            Description = "It was refused, or could not be done.",
            Content = new Dictionary<string, OpenApiMediaType>
            {
                ["application/problem+json"] = new() { Schema = await SchemaAsync(typeof(Problem)) },
            },
        };

        // Named once in the document, not spelt out in each operation.
        async Task<IOpenApiSchema> SchemaAsync(Type type)
        {
            var schema = await context.GetOrCreateSchemaAsync(type, parameterDescription: null, cancellation);
            context.Document!.AddComponent(type.Name, schema);
            return new OpenApiSchemaReference(type.Name, context.Document);
        }

        void Header(string name, string description) => (operation.Parameters ??= []).Add(new OpenApiParameter
        {
            Name = name,
            In = ParameterLocation.Header,
            Description = description,
            Schema = new OpenApiSchema { Type = JsonSchemaType.String },
        });
    }

    private sealed record BodyOf(Type Type);
}
