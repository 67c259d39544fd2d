"""Compare files with a sink record by record, and ship missing records again.

Nothing in the sink is ever changed: a record that differs, or should not be there, is a discrepancy
of the receipt.  Records that the sink's cursor has not passed are pending, which is not a fault.
Records whose index was deleted by policy count as retired and are not shipped again.  Segments that
retention deleted here are proven in the sink by their chain.  Both sides are read as streams.

Invariants (tests of the same name in tests/shippers/reconcile/test_reconciliation.py):
  finds       every single document removed, changed or added in the sink is found and named
  restores    what is missing is there afterwards, once, and nothing else has changed
  quiet       an intact pair of log and sink gives no finding, while it is written and shipped too
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Final

from auditlog.errors import AuditLogError, InvalidName, LogDamaged
from auditlog.format.erasures import Erasure
from auditlog.format.record import Header, is_intact, parse_header
from auditlog.format.segment_names import LogId
from auditlog.format.tombstones import Tombstone, by_log
from auditlog.reading.inventory import SegmentFile, scan
from auditlog.reading.reader import bounds, iter_lines, open_any_form
from auditlog.reading.tombstone_scan import proofs_in
from shippers.item import Shipment
from shippers.outcome import OutcomeKind
from shippers.reconcile.comparison import (
    Side,
    TombstoneCheck,
    alike,
    compare,
    intact,
    same,
)
from shippers.reconcile.receipt import DayReceipt, LogReceipt, Receipt
from shippers.redelivery import MAX_BATCH, MAX_BATCH_BYTES, deliver_until_final
from shippers.sinks.protocol import Sink
from shippers.sinks.read_back import ReadBack, Stored

__all__ = ["Reconciliation"]

_MAX_SUSPECTS: Final = 1000
_STILL_THERE: Final = "it was erased, and is still in the sink; run auditctl erase again"
_VANISHED_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class _Log:
    id: LogId
    segments: tuple[SegmentFile, ...]
    tombstones: tuple[Tombstone, ...]
    erased: Mapping[int, Erasure]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A comparison of all logs in some directories with one sink, by the sink's ``name``.

    sink           ships what is missing; None: compare only
    acknowledged   the number that the sink's cursor has for a log; None if there is no cursor
    retired        whether the sink's index of a log's day (``2026-11-23``) was deleted by policy
    retention_hosts  hosts whose tombstones are believed (format.tombstones.may_delete)
    give_up_after  what is left counts as missing once the sink has taken nothing for this long
    """

    directories: Sequence[Path]
    read_back: ReadBack
    _: KW_ONLY
    name: str
    sink: Sink | None = None
    acknowledged: Callable[[str], int | None] = lambda _: None
    retired: Callable[[str, str], bool] = lambda _log, _day: False
    give_up_after: dt.timedelta = dt.timedelta(seconds=60)
    retention_hosts: Collection[str] | None = None

    def run(self, now: dt.datetime) -> Receipt:
        """Compare everything.  Raises SinkRefused, OSError if a side cannot be read."""
        receipt = Receipt(self.name, self.read_back.address, now)
        self.read_back.refresh()
        for log in sorted(self._logs()):
            receipt.logs.append(self._log(log))
        receipt.strangers = self.read_back.strangers()
        return receipt

    def _logs(self) -> dict[LogId, _Log]:
        """The logs there are now: with segments, or with tombstones alone."""
        segments: dict[LogId, tuple[SegmentFile, ...]] = {}
        found: list[Tombstone] = []
        erased: dict[str, dict[int, Erasure]] = {}
        for directory in self.directories:
            inventory = scan(directory)
            proofs = proofs_in(inventory.logs, self.retention_hosts)
            found += proofs.tombstones
            for erasure in proofs.erasures:
                erased.setdefault(erasure.log, {})[erasure.seq] = erasure
            segments |= inventory.logs
        tombstones = by_log(found)
        ids = set(segments)
        for name in tombstones:
            with suppress(InvalidName):  # such a log cannot ever have been here
                ids.add(LogId.parse(name))
        return {
            log: _Log(
                log,
                segments.get(log, ()),
                tombstones.get(str(log), ()),
                erased.get(str(log), {}),
            )
            for log in ids
        }

    def _log(self, log: LogId) -> LogReceipt:
        for _ in range(_VANISHED_ATTEMPTS):
            try:
                return _LogComparison(self, self._logs()[log]).run()
            except FileNotFoundError:
                continue  # retention deleted a segment meanwhile: look again
        raise AuditLogError(
            f"segments of {log} vanish faster than they can be read",
            hint="Run it again when retention has ended.",
        )


class _LogComparison:
    """The comparison of one log."""

    def __init__(self, whole: Reconciliation, log: _Log) -> None:
        self._whole = whole
        self._log = log
        self._name = str(log.id)
        self._receipt = LogReceipt(self._name)
        self._head = _newest_seq(log.segments)
        self._acknowledged = whole.acknowledged(self._name)
        self._checks = [TombstoneCheck(tombstone, log.erased) for tombstone in log.tombstones]
        self._missing: list[tuple[Header, bytes]] = []
        self._missing_bytes = 0
        self._suspects: dict[int, Stored] = {}
        self._day = DayReceipt("", Side(), Side())
        self._retired = False

    def run(self) -> LogReceipt:
        files = {segment.name.day.isoformat() for segment in self._log.segments}
        for day in sorted(files | set(self._whole.read_back.days(self._name))):
            self._compare_day(day)
        for check in self._checks:
            check.finish()
            day = check.tombstone.segment.removeprefix(f"{self._name}.")[:10]
            if not check.ok:
                self._receipt.add("deleted", day, check.tombstone.first_seq, check.problem)
        self._receipt.deleted = self._checks
        return self._receipt

    def _compare_day(self, day: str) -> None:
        self._day = DayReceipt(day, Side(), Side())
        self._retired = self._whole.retired(self._name, day)
        stored = self._whole.read_back.read(self._name, day)
        for difference in compare(self._records(day), stored, self._day.files, self._day.sink):
            record, found = difference.record, difference.stored
            if difference.kind == "erased":
                self._add("erased", difference.seq, _STILL_THERE)
            elif record is not None and found is not None:
                self._take_different(record, found)
            elif record is not None:
                self._take_missing(record)
            elif found is not None:
                self._take_extra(found)
        self._settle_missing()
        files = self._day.files
        for number, suspect in self._suspects.items():
            if not files.records or not (files.first_seq or 0) <= number <= (files.last_seq or 0):
                self._add_extra(suspect)
        self._suspects.clear()
        self._receipt.days.append(self._day)

    def _records(self, day: str) -> Iterator[tuple[Header, bytes]]:
        """Yield the day's records in the files, by number; report lines that are not records."""
        last = 0
        for segment in self._log.segments:
            if segment.name.day.isoformat() != day:
                continue
            stream, path = open_any_form(segment)
            with stream:
                try:
                    for offset, line in iter_lines(stream, path=path):
                        if not line.endswith(b"\n"):
                            break  # being written, or torn by a crash
                        header = parse_header(line)
                        if header is None or header.log != self._name or header.day != day:
                            where = f"byte {offset} of {segment.name.logical}"
                            self._add("damaged", None, f"{where} is no record of this log and day")
                        elif header.seq <= last:
                            self._add("damaged", header.seq, "its number was used before")
                        elif self._head is None or header.seq <= self._head:
                            last = header.seq
                            yield header, line
                except LogDamaged as error:
                    self._add("damaged", None, f"{segment.name.logical}: {error.reason}")

    def _take_missing(self, record: tuple[Header, bytes]) -> None:
        header, line = record
        if self._retired:
            self._day.retired += 1
        elif self._acknowledged is not None and header.seq > self._acknowledged:
            self._day.pending += 1
        else:
            self._missing.append(record)
            self._missing_bytes += len(line)
            if len(self._missing) >= MAX_BATCH or self._missing_bytes >= MAX_BATCH_BYTES:
                self._settle_missing()

    def _settle_missing(self) -> None:
        """Look records up by id, and ship those that are still missing."""
        missing, self._missing, self._missing_bytes = self._missing, [], 0
        wanted: list[Shipment] = []
        fetched = self._whole.read_back.fetch([header for header, _ in missing])
        for (header, line), found in zip(missing, fetched, strict=True):
            if found is None:
                self._day.missing += 1
                if self._whole.sink is None:
                    self._add("missing", header.seq, "it is not in the sink")
                elif not is_intact(header, line):
                    self._add("missing", header.seq, "it is not in the sink, and damaged here")
                else:
                    wanted.append(Shipment(line, header))
            elif alike(line, found):
                self._day.unsearchable += 1
            else:
                self._take_different((header, line), found)
        if self._whole.sink is not None and wanted:
            self._ship(self._whole.sink, wanted)

    def _ship(self, sink: Sink, wanted: list[Shipment]) -> None:
        outcomes = deliver_until_final(sink, wanted, give_up_after=self._whole.give_up_after)
        for (_, header), outcome in zip(wanted, outcomes, strict=True):
            refused = outcome.kind is OutcomeKind.QUARANTINED
            if outcome.final and not refused:
                self._day.reshipped += 1
                continue
            reason = f"refused: {outcome.reason}" if refused else outcome.reason
            detail = f"it could not be shipped again: {reason}"
            seq = None if header is None else header.seq
            self._add("refused" if refused else "missing", seq, detail)

    def _take_different(self, record: tuple[Header, bytes], stored: Stored) -> None:
        self._day.different += 1
        header, line = record
        here, there = intact(line), intact(stored.line)
        if stored.misfiled:
            detail = "the sink keeps it under a day, time, type or hash that is not the record's"
        elif here and not there:
            detail = "it was changed in the sink; the file's record fits its hash"
        elif there and not here:
            detail = "it was changed in the file; the sink's record fits its hash"
        elif here and same(line, stored.line):
            detail = "the sink has it in other words, which mean the same: it was changed there"
        elif here:
            detail = "both fit their own hash: the chain says which is the right one"
        else:
            detail = "neither fits its own hash"
        self._add("different", header.seq, detail)

    def _take_extra(self, stored: Stored) -> None:
        number = stored.id.removeprefix(f"{self._name}:")
        check = next((check for check in self._checks if check.covers(stored.seq)), None)
        misnumbered = number != str(stored.seq) and number.isdecimal()
        if misnumbered and len(self._suspects) < _MAX_SUSPECTS:
            self._suspects[int(number)] = stored  # reported as different when that one is looked up
        elif check is not None:
            check.add(stored)
        elif self._head is not None and stored.seq > self._head and self._grew_to(stored):
            return
        else:
            self._add_extra(stored)

    def _grew_to(self, stored: Stored) -> bool:
        """Whether the log has the record by now: it was written and shipped meanwhile."""
        newest = _newest_seq(_segments_now(self._log.segments))
        return intact(stored.line) and newest is not None and stored.seq <= newest

    def _add_extra(self, stored: Stored) -> None:
        self._day.extra += 1
        fits = "it fits its own hash" if intact(stored.line) else "it does not fit its own hash"
        detail = f"the files do not have it and no tombstone names it; {fits}"
        self._add("extra", stored.seq, f"{stored.id[:200]}: {detail}")

    def _add(self, kind: str, seq: int | None, detail: str) -> None:
        self._receipt.add(kind, self._day.day, seq, detail)


def _segments_now(segments: tuple[SegmentFile, ...]) -> tuple[SegmentFile, ...]:
    if not segments:
        return ()
    return scan(segments[-1].path.parent).logs.get(segments[-1].name.log, ())


def _newest_seq(segments: tuple[SegmentFile, ...]) -> int | None:
    """Return the last record's number, None when it cannot be determined."""
    for segment in reversed(segments):
        try:
            ends = bounds(segment)
        except LogDamaged:
            return None
        if ends is not None:
            return ends.last_seq
    return None
