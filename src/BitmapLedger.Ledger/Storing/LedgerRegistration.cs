using System.Data.Common;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Describing;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Measuring;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Repairing;
using BitmapLedger.Ledger.Retaining;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Verifying;
using JasperFx;
using JasperFx.Events;
using JasperFx.Events.Daemon;
using JasperFx.Events.Projections;
using Marten;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using Weasel.Core;

namespace BitmapLedger.Ledger.Storing;

/// <summary>Puts the ledger into a container.</summary>
public static class LedgerRegistration
{
    private const int ConnectSeconds = 5;

    /// <summary>Statements that a connection keeps planned: about as many as there are in this program and in what it has of
    /// Marten. A database behind a pooler that cannot have them is named with <c>Max Auto Prepare=0</c>.</summary>
    private const int PreparedMax = 128;

    /// <summary>Registers store, shipper, commands and queries.</summary>
    /// <param name="services">The container.</param>
    /// <param name="connectionString">Of PostgreSQL.</param>
    /// <param name="settings">Where the data directory is.</param>
    public static IServiceCollection AddLedger(
        this IServiceCollection services, string connectionString, LedgerSettings settings)
    {
        var source = DataSource(connectionString);
        services.AddSingleton(source);
        services.AddSingleton(settings);
        services.AddSingleton(TimeProvider.System);
        services.AddSingleton(s => new PostgresWatch(
            connectionString, s.GetRequiredService<TimeProvider>(), s.GetRequiredService<ILogger<PostgresWatch>>()));
        var lag = new LagMeter([BitmapBits.ProjectionName, UnionNodes.ProjectionName], TimeProvider.System);
        services.AddSingleton(lag);
        services.AddMarten(options =>
        {
            Configure(options, source);
            options.Listeners.Add(lag);
        }).AddAsyncDaemon(DaemonMode.Solo);
        // Started by the loop, once the database is known to be there and to have this schema.
        services.Remove(services.Last(s => s.ServiceType == typeof(IHostedService)));
        services.AddSingleton<LedgerSchema>();
        services.AddSingleton<LedgerOpening>();
        services.AddSingleton<Lanes>();
        services.AddSingleton<SettledLanes>();
        services.AddSingleton<AgentLink>();
        services.AddSingleton<IAgent>(s => s.GetRequiredService<AgentLink>());
        services.AddSingleton(s =>
        {
            var streams = new VolumeStreams(s.GetRequiredService<IDocumentStore>(), s.GetRequiredService<TimeProvider>());
            s.GetRequiredService<PostgresWatch>().OnConnected = streams.ForgetKnown;
            return streams;
        });
        services.AddSingleton<Shipper>();
        services.AddSingleton<OnceOnly>();
        services.AddSingleton<Commands>();
        services.AddSingleton<Volumes>();
        services.AddSingleton<Reconciler>();
        services.AddSingleton<EventReader>();
        services.AddSingleton<PointResolver>();
        services.AddSingleton<SliceReader>();
        services.AddSingleton<CheckpointReader>();
        services.AddSingleton(s => new HistoryIndex(source, s.GetRequiredService<IDocumentStore>().Options.Serializer()));
        services.AddSingleton<ChangeReader>();
        services.AddSingleton<ContextAnswers>();
        services.AddScoped<AnswerMaps>();
        services.AddScoped<Queries>();
        services.AddSingleton<Histories>();
        services.AddSingleton<Blame>();
        services.AddSingleton<Heat>();
        services.AddSingleton<EventFeed>();
        services.AddSingleton<Verifier>();
        services.AddSingleton<ProjectionSteps>();
        services.AddSingleton<Repairer>();
        services.AddSingleton<ProjectionRebuild>();
        services.AddSingleton<HistoryArchive>();
        services.AddSingleton<Retainer>();
        services.AddSingleton<ProjectionControl>();
        services.AddSingleton<BitmapBits>();
        return services;
    }

    /// <summary>Marten as the ledger needs it.</summary>
    public static void Configure(StoreOptions options, NpgsqlDataSource source)
    {
        options.Connection(source);
        options.DatabaseSchemaName = LedgerSchema.Name;
        options.Events.DatabaseSchemaName = LedgerSchema.Name;
        options.AutoCreateSchemaObjects = AutoCreate.None;
        options.UseSystemTextJsonForSerialization(EnumStorage.AsString, Casing.SnakeCase);
        options.Events.AppendMode = EventAppendMode.QuickWithServerTimestamps;
        var wakeup = new AppendWakeup();
        options.Listeners.Add(wakeup);
        options.Projections.Wakeup = wakeup;
        options.Events.UseBinarySerializer<WritesRecorded>(new PackedWritesSerializer());
        options.Events.UseBinarySerializer<HistoryCoalesced>(new CoalescedWritesSerializer());
        options.Events.MetadataConfig.CausationIdEnabled = true;
        options.Events.MetadataConfig.CorrelationIdEnabled = true;
        options.Events.MetadataConfig.HeadersEnabled = true;
        options.Events.MetadataConfig.UserNameEnabled = true;
        options.Events.AddEventTypes(
        [
            typeof(VolumeCreated), typeof(VolumeRemoved), typeof(WritesRecorded), typeof(TrackingLost), typeof(WritesRecovered), typeof(BitmapAdded),
            typeof(BitmapRemoved), typeof(BitmapCleared), typeof(BitmapEnabled), typeof(BitmapDisabled),
            typeof(CheckpointCreated), typeof(CheckpointRemoved), typeof(VolumeResized), typeof(BitmapMerged), typeof(BitmapImported),
            typeof(RetentionSet), typeof(SliceBanked), typeof(SliceDeleted), typeof(SliceDropped), typeof(SlicesReset),
            typeof(BackupStarted), typeof(BackupCompleted), typeof(BackupFailed), typeof(BackupCancelled),
            typeof(HistoryCoalesced), typeof(HistoryRetained),
        ]);
        options.Schema.For<VolumeState>().Index(v => v.Name);
        options.Schema.For<CommandRecord>();
        options.Schema.For<AgentRun>();
        options.Schema.For<CheckpointRow>().Index(c => c.VolumeId);
        options.Projections.Add<VolumeStateProjection>(ProjectionLifecycle.Inline);
        options.Projections.Add(new CheckpointProjection(), ProjectionLifecycle.Inline);
        options.Storage.ExtendedSchemaObjects.Add(ProjectionVersions.Table);
        options.Storage.ExtendedSchemaObjects.Add(BitmapBits.Table);
        options.Storage.ExtendedSchemaObjects.Add(BitmapBits.SliceTable);
        options.Projections.Add(new BitmapBitsProjection(
            new(source), new(source, options.Serializer())), ProjectionLifecycle.Async, BitmapBits.ProjectionName, o =>
        {
            // A page writes the bits of every bitmap once: fewer pages, and no more events in memory than the hopper holds.
            o.BatchSize = 128;
            o.MaximumHopperSize = 256;
            o.DeleteDataInTableOnTeardown(BitmapBits.Table.Identifier.QualifiedName);
            o.DeleteDataInTableOnTeardown(BitmapBits.SliceTable.Identifier.QualifiedName);
        });
        options.Storage.ExtendedSchemaObjects.Add(UnionNodes.Table);
        options.Events.IgnoreIndex(UnionNodes.CommandsIndex);
        options.Projections.Add(new UnionNodesProjection(
            new(source, options.Serializer())), ProjectionLifecycle.Async, UnionNodes.ProjectionName, o =>
        {
            o.BatchSize = 64;
            o.MaximumHopperSize = 256;
            o.DeleteDataInTableOnTeardown(UnionNodes.Table.Identifier.QualifiedName);
        });
        // Said here as well, or a store without a daemon prints a warning where answers go.
        options.Projections.AsyncMode = DaemonMode.Solo;
        // A ledger does not skip what it cannot read: the projection stops and verify says so.
        options.Projections.Errors.SkipApplyErrors = false;
        options.Projections.Errors.SkipSerializationErrors = false;
        options.Projections.Errors.SkipUnknownEvents = false;
    }

    /// <summary>Connections that wait for the disk at every commit.</summary>
    /// <param name="connectionString">Of PostgreSQL.</param>
    /// <param name="connectionsMax">Most of them at once; null for what the string says.</param>
    public static NpgsqlDataSource DataSource(string connectionString, int? connectionsMax = null)
    {
        var builder = new NpgsqlDataSourceBuilder(connectionString);
        var settings = builder.ConnectionStringBuilder;
        settings.Options = "-c synchronous_commit=on";
        settings.ApplicationName ??= "bitmapledger";
        // A server that accepts and says nothing is an outage, and nobody waits long to hear of it.
        // (Npgsql's own builder says of each setting that it contains it.)
        var given = new DbConnectionStringBuilder { ConnectionString = connectionString };
        if (!given.ContainsKey("Timeout"))
            settings.Timeout = ConnectSeconds;
        settings.MaxPoolSize = connectionsMax ?? settings.MaxPoolSize;
        // Nobody here leaves anything behind in a session that the next one to use it would have to be spared.
        settings.NoResetOnClose = true;
        if (!given.ContainsKey("Max Auto Prepare") && !given.ContainsKey("MaxAutoPrepare"))
            settings.MaxAutoPrepare = PreparedMax;
        return builder.Build();
    }
}
