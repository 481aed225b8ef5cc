using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Server;
using BitmapLedger.Server.Qmp;
using JasperFx;
using JasperFx.CodeGeneration;
using Npgsql;
using Wolverine;

if (args is ["codegen", ..])
    return await GenerateCode(args);
if (ServerOptions.TryParse(args, out var fault) is not { } options)
{
    await Console.Error.WriteLineAsync($"bml-server: {fault}\n{ServerOptions.Usage}");
    return ExitCode.Usage;
}

try
{
    return options.Verb is null ? await Serve(options) : await SchemaVerb.RunAsync(options);
}
catch (BitmapLedgerException refusal)
{
    var hint = (refusal as BitmapLedger.Ledger.LedgerException)?.Hint;
    await Console.Error.WriteLineAsync($"bml-server: {refusal.Message}{(hint is null ? "" : $"; {hint}")}");
    return ExitCode.Of(refusal.Code);
}
catch (Exception away) when (PostgresWatch.IsOutage(away))
{
    await Console.Error.WriteLineAsync($"bml-server: {PostgresWatch.Busy(away.GetBaseException().Message).Message}");
    return ExitCode.Busy;
}
catch (Exception refusal) when (
    refusal.GetBaseException() is NpgsqlException or System.Net.Sockets.SocketException or IOException)
{
    await Console.Error.WriteLineAsync($"bml-server: {refusal.GetBaseException().Message}");
    return ExitCode.Failed;
}

static async Task<int> Serve(ServerOptions options)
{
    var app = Build(options);
    var opening = app.Services.GetRequiredService<LedgerOpening>();
    // A database that will not do is said before anything listens; one that is away is waited for behind it.
    await opening.TryOpenAsync(CancellationToken.None);
    await ServerFiles.StartAsync(app, options);
    await app.WaitForShutdownAsync();
    return opening.Refusal is { } refusal ? throw refusal
        : app.Services.GetRequiredService<QuitRequest>().IsSet ? ExitCode.Quit : ExitCode.Ok;
}

static WebApplication Build(ServerOptions options)
{
    // Empty: no settings file, wherever it lies, and no variable but ours says what this server does.
    var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions
    {
        ApplicationName = typeof(ServerOptions).Assembly.GetName().Name,
        ContentRootPath = AppContext.BaseDirectory,
        EnvironmentName = Environments.Production,
    });
    builder.WebHost.UseKestrelCore();
    builder.Services.AddRoutingCore();
    builder.Services.Configure<HostOptions>(o => o.ShutdownTimeout = TimeSpan.FromSeconds(5));
    builder.Services.Configure<RouteHandlerOptions>(o => o.ThrowOnBadRequest = true);
    builder.Logging.SetMinimumLevel(LogLevel.Warning).AddFilter("BitmapLedger", LogLevel.Information)
        // It tells each failure that it throws as well; whoever catches it says what it means.
        .AddFilter("Marten.IDocumentStore", LogLevel.None);
    builder.Logging.AddSimpleConsole(o =>
    {
        o.SingleLine = true;
        o.UseUtcTimestamp = true;
        o.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.ffffffZ ";
    });
    builder.Host.UseWolverine(Configure);
    builder.Services.AddLedger(options.Database, new(options.DataDirectory, options.JournalQuotaBytes, options.OwnCluster));
    builder.Services.AddScoped<Sender>();
    builder.Services.AddSingleton<MeterSeries>().AddSingleton<MetricsPage>();
    builder.AddExport();
    builder.Services.AddScoped<BitmapView>();
    builder.Services.AddSingleton<LedgerLoop>();
    builder.Services.AddHostedService(s => s.GetRequiredService<LedgerLoop>());
    builder.Services.AddSingleton(options).AddSingleton<QuitRequest>().AddSingleton<QmpActions>().AddSingleton<QmpNodes>().AddSingleton<QmpHistory>()
        .AddSingleton<QmpExports>().AddSingleton<QmpLedger>().AddSingleton<QmpCommands>();
    builder.Services.AddHostedService<QmpEndpoint>();
    builder.Services.ConfigureHttpJsonOptions(o =>
    {
        // A context brings types, not its options: names and nulls are said here as they are said there.
        o.SerializerOptions.TypeInfoResolverChain.Insert(0, ApiJson.Default);
        o.SerializerOptions.PropertyNamingPolicy = ApiJson.Default.Options.PropertyNamingPolicy;
        o.SerializerOptions.DefaultIgnoreCondition = ApiJson.Default.Options.DefaultIgnoreCondition;
        o.SerializerOptions.Encoder = ApiJson.Encoder;
        o.SerializerOptions.NumberHandling = ApiJson.Default.Options.NumberHandling;
    });
    builder.Services.AddOpenApi(ApiDocument.Configure);
    builder.WebHost.ConfigureKestrel(k => ServerFiles.Listen(k, options));
    var app = builder.Build();
    app.UseMiddleware<ProblemWriter>();
    app.Use(RawPath.TakeAsync);
    app.UseMiddleware<Gatekeeper>(new GatekeeperToken(options.DataDirectory));
    app.UseMiddleware<PostgresGate>();
    app.UseRouting();
    app.Use(RawPath.UnescapeAsync);
    app.Use(QueryTimes.MeasureAsync);
    var api = app.MapGroup("").AddEndpointFilter(AnswerLines.WriteAsync).AddEndpointFilter<Unattended>();
    api.MapVolumes();
    api.MapBitmaps();
    api.MapSlices();
    api.MapQueries();
    api.MapEvents();
    api.MapOperations();
    app.MapOpenApi("/openapi/{documentName}.json");
    MetricsPage.Map(app);
    return app;
}

static void Configure(WolverineOptions wolverine)
{
    // Commands are invoked inside their lane and answered at once: nothing is queued, so nothing needs durable storage.
    wolverine.Durability.Mode = DurabilityMode.MediatorOnly;
    wolverine.ApplicationAssembly = typeof(ServerOptions).Assembly;
    wolverine.Discovery.DisableConventionalDiscovery().IncludeType(typeof(CarryOutHandler));
    wolverine.CodeGeneration.TypeLoadMode = TypeLoadMode.Static;
}

// Writes Internal/Generated: `dotnet run --project src/BitmapLedger.Server -- codegen write`.
static async Task<int> GenerateCode(string[] arguments)
{
    var builder = Host.CreateDefaultBuilder();
    builder.UseWolverine(o =>
    {
        Configure(o);
        o.CodeGeneration.TypeLoadMode = TypeLoadMode.Dynamic;
    });
    builder.ConfigureServices(s => s.AddLedger("Host=nowhere", new(".", 0, OwnCluster: false)));
    return await builder.RunJasperFxCommands(arguments);
}
