using System.Runtime.InteropServices;
using BitmapLedger.Agent;
using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts.Services;
using BitmapLedger.WritePath.Control;

const int failed = 1;
const int usage = 64;

if (AgentOptions.TryParse(args, out var fault) is not { } options)
{
    Console.Error.WriteLine($"bml-agent: {fault}\n{AgentOptions.Usage}");
    return usage;
}

var log = new AgentLog(TimeProvider.System);
var run = Path.Combine(options.DataDirectory, "run");
using var ended = new ManualResetEventSlim();
using var onTerm = PosixSignalRegistration.Create(PosixSignal.SIGTERM, End);
using var onInt = PosixSignalRegistration.Create(PosixSignal.SIGINT, End);
using var onHangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, c => c.Cancel = true);
try
{
    Directory.CreateDirectory(run);
    using var alone = AgentLock.Take(Path.Combine(run, "agent.lock"));
    PidFile.Write(Path.Combine(run, "agent.pid"));
    using var volumes = new VolumeSet(options.DataDirectory, options.Machine) { JournalQuota = options.JournalQuota };
    volumes.Recover(log.Line);
    var contexts = new LedgerContexts(volumes.Bits, log.Line);
    var server = new NbdServer(volumes, contexts, log);
    volumes.DropConnections = server.Drop;
    volumes.ExportListener = server;
    server.Listen(options.Listeners, options.DefaultListener);
    using var control = new ControlServer(Path.Combine(run, "control.sock"), volumes, log.Line);
    contexts.Ledger = control;
    using var quotas = new QuotaWatch(volumes, log.Line);
    var serving = $"serving {volumes.List().Count} volumes on {string.Join(' ', volumes.Listeners)}";
    log.Line(serving);
    ServiceNotice.Ready(serving);
    ended.Wait();
    ServiceNotice.Stopping();
    server.Stop();
    log.Line("ended in order");
    return 0;
}
catch (Exception refusal) when (refusal is BitmapLedgerException or IOException or UnauthorizedAccessException)
{
    log.Line(refusal.Message);
    return failed;
}

void End(PosixSignalContext context)
{
    context.Cancel = true;
    ended.Set();
}
