namespace BitmapLedger.Journal;

/// <summary>How much of its quota a journal uses, and what waits in it for the ledger.</summary>
/// <param name="UsedBytes">Bytes of records that are not freed yet; they are freed by whole segments.</param>
/// <param name="QuotaBytes">Most that they may take.</param>
/// <param name="IsFull">Whether a write was refused space and nothing has been freed since.</param>
/// <param name="ShippedLsn">Last LSN that the ledger said it has.</param>
/// <param name="WaitingSinceMicroseconds">Not after the oldest write that the ledger has not got, microseconds since the
/// Unix epoch; 0 when it has all of them.</param>
public readonly record struct JournalUse(
    long UsedBytes, long QuotaBytes, bool IsFull, long ShippedLsn, long WaitingSinceMicroseconds);
