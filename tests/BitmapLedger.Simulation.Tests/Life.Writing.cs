using System.Buffers.Binary;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.Simulation.Tests;

/// <content>What clients write.</content>
internal sealed partial class Life
{
    private void Write()
    {
        var writer = Writer();
        List<SentWrite> sent = [];
        List<PendingWrite> batch = [];
        var lsn = _volume.Journal.LastLsn;
        for (var count = _world.Random.Next(1, BatchMax + 1); count > 0; count--)
        {
            var length = _world.Random.Next(1, LengthMax + 1);
            var first = _world.Random.Next(Sectors - length + 1);
            var write = new SentWrite(
                _model.NextId(), _world.Chance(8) ? WriteKind.WriteZeroes : WriteKind.Write,
                first * (long)SimulatedInode.Sector, length * (long)SimulatedInode.Sector, ++lsn);
            batch.Add(Pending(write, sent.Count));
            sent.Add(write);
            _model.Send(write);
        }

        _surplus.Begin(sent);
        var before = _data.OnWrite;
        if (_world.Mutant == Mutant.MarkAfterWrite)
            WriteFirst(sent);
        var landed = 0;
        _data.OnWrite = () =>
        {
            _data.OnWrite = before;
            for (; landed < sent.Count; landed++)
                _model.Land(sent[landed]);
            before();
        };
        var pending = batch.ToArray();
        writer.Write(_buffer, pending);
        _data.OnWrite = before;
        _data.IsWritten = false;
        var forced = pending.Any(w => w.Fua && w.Errno == 0) ? _volume.Flush() : 0;
        for (var i = 0; i < pending.Length; i++)
        {
            if (pending[i].Errno != 0)
                continue;
            (sent[i].IsAcknowledged, sent[i].MustBeRecorded) = (true, true);
            sent[i].IsFlushed |= pending[i].Fua && forced == 0;
        }

        _surplus.End(sent);
        if (_world.Mutant == Mutant.EvictTooEarly && IsPower)
            EarlyEviction.Allow(_volume.Journal);
    }

    private void WriteFirst(List<SentWrite> sent)
    {
        _data.OnWrite = () => { };
        foreach (var write in sent)
        {
            var values = new long[write.Length / SimulatedInode.Sector];
            Array.Fill(values, write.Kind == WriteKind.Write ? write.Id : 0);
            _data.Write(write.Offset, values);
        }

        _data.IsWritten = true;
    }

    private PendingWrite Pending(SentWrite write, int index)
    {
        // A nested write would overwrite the buffer of the one it interrupts.
        var start = (_depth * BatchMax + index) * LengthMax * SimulatedInode.Sector;
        return new()
        {
            Kind = write.Kind,
            Offset = write.Offset,
            Length = write.Length,
            Fua = !_flushing && _depth == 0 && _world.Chance(8),
            DataStart = Fill(start, write),
        };
    }

    private int Fill(int start, SentWrite write)
    {
        for (var at = start; at < start + write.Length; at += SimulatedInode.Sector)
            BinaryPrimitives.WriteInt64LittleEndian(_buffer.AsSpan(at), write.Id);
        return start;
    }

    private VolumeWriter Writer()
    {
        var index = Math.Min(_depth * 2 + _world.Random.Next(2), 3);
        while (_writers.Count <= index)
            _writers.Add(_volume.Connect($"client {_writers.Count}")!);
        return _writers[index];
    }
}
