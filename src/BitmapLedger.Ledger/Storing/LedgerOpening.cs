namespace BitmapLedger.Ledger.Storing;

/// <summary>
/// Looks at the database before anything uses it: durable, and with the schema of this program. PostgreSQL may be away
/// then; the server runs meanwhile and answers <c>busy</c>.
/// </summary>
/// <param name="schema">Checks, and makes on a cluster of our own.</param>
/// <param name="watch">Says when PostgreSQL is there.</param>
/// <param name="settings">Whether the cluster is our own.</param>
public sealed class LedgerOpening(LedgerSchema schema, PostgresWatch watch, LedgerSettings settings)
{
    private volatile bool _open;

    /// <summary>Why the database cannot be used at all; null unless that is so.</summary>
    public LedgerException? Refusal { get; private set; }

    /// <summary>Whether the database is ready to be used.</summary>
    public bool IsOpen => _open;

    /// <summary>Throws while the database was not looked at yet.</summary>
    /// <exception cref="LedgerException">PostgreSQL was away since this program started (<c>busy</c>).</exception>
    public void Require()
    {
        if (!_open)
            throw PostgresWatch.Busy(watch.Reason ?? "the server has just started");
    }

    /// <summary>Tries once.</summary>
    /// <returns>False when PostgreSQL is away.</returns>
    /// <exception cref="LedgerException">The database cannot be used by this program.</exception>
    public async Task<bool> TryOpenAsync(CancellationToken cancellation)
    {
        if (_open)
            return true;
        try
        {
            await watch.WithAsync(async away =>
            {
                await schema.RequireDurableAsync(away);
                // A schema that is there is left alone: patching it would wait for every lock on its tables.
                if (settings.OwnCluster && !(await schema.StatusAsync(away)).Current)
                    await schema.ApplyAsync(away);
                else
                    await schema.RequireAsync(away);
            }, cancellation);
            _open = true;
        }
        catch (LedgerException away) when (away.IsTransient)
        {
            // Looked at again when it is back; one that says no will say so again.
            if (watch.Refusal is { } refusal)
                throw refusal;
        }
        catch (Exception failure) when (PostgresWatch.IsOutage(failure))
        {
            // The same, said by somebody else.
        }

        return _open;
    }

    /// <summary>Tries until it is open.</summary>
    /// <exception cref="LedgerException">The database cannot be used by this program.</exception>
    public async Task OpenAsync(TimeProvider clock, CancellationToken cancellation)
    {
        try
        {
            while (!await TryOpenAsync(cancellation))
            {
                await watch.HereAsync(cancellation);
                await Task.Delay(TimeSpan.FromMilliseconds(100), clock, cancellation);
            }
        }
        catch (LedgerException refusal)
        {
            Refusal = refusal;
            throw;
        }
    }
}
