using BitmapLedger.Domain.Bitmaps;

namespace BitmapLedger.Domain.Volumes;

/// <summary>
/// Decides a list of actions on one or several volumes as one, strictly in list order, as QEMU's <c>transaction</c>: later
/// actions see what earlier ones did, also on other volumes, and a refusal refuses all. A bitmap that an action removes stays
/// listed and in use until the end of the list. Pure: the same actions, states and places, the same answer.
/// </summary>
/// <remarks>
/// A shell that carries a transaction out: takes the lanes of all volumes that are commanded or merged from; decides at any
/// place (a refusal rotates nothing); rotates all of them at once; ships each to its fence; decides again at the places of
/// the fences; gets the bits of <see cref="TransactionDecision.Needed"/> as of the fences and calls
/// <see cref="TransactionDecision.WithForeignBits"/>; appends all events at once; settles each volume with
/// <see cref="BitTransfer.Of"/> of its state before and its events.
/// </remarks>
public static class TransactionDecider
{
    /// <summary>Decides.</summary>
    /// <param name="actions">What is wanted, in order.</param>
    /// <param name="places">Every volume that is commanded or merged from, each once.</param>
    /// <exception cref="KeyNotFoundException">A volume has no place.</exception>
    public static TransactionDecision Decide(IReadOnlyList<VolumeAction> actions, IReadOnlyList<VolumePlace> places)
    {
        var volumes = new Deciding(places);
        for (var i = 0; i < actions.Count; i++)
        {
            var refusal = actions[i].Command is VolumeCommand.Abort abort
                ? abort.Why ?? Refusal.Failed("Transaction aborted using Abort action")
                : volumes.Take(actions[i]);
            if (refusal is not null)
                return new([.. places.Select(p => new VolumeDecision(p.State, [], p.State))], [], refusal, i);
        }

        return volumes.Decision();
    }
}
