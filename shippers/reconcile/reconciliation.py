"""Compare files with what a sink holds, record by record, and ship again what is missing there.

Nothing that the sink has is ever changed: what differs, or is there and should not be, is told.
Records that the sink's cursor has not passed are pending and no fault, and so are those whose index
was deleted by policy: they are never shipped again.  What retention deleted here is proven in the
sink by its chain.  Both sides are read as streams, a page at a time.

Invariants (tests of the same name in tests/shippers/reconcile/test_reconciliation.py):
  finds       every single document removed, changed or added in the sink is found and named
  restores    what is missing is there afterwards, once, and nothing else has changed
  quiet       an intact pair of log and sink gives no finding, while it is written and shipped too
"""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auditlog.errors import AuditLogError, InvalidName, LogDamaged
from auditlog.format.record import Header, line_hash, parse_header
from auditlog.format.segment_names import LogId
from auditlog.format.tombstones import Tombstone, by_log
from auditlog.reading.inventory import SegmentFile, scan
from auditlog.reading.reader import bounds, iter_lines, open_any_form
from auditlog.verification.verify import tombstones_in
from shippers.backoff import Backoff
from shippers.batch import Shipment
from shippers.outcome import Kind
from shippers.reconcile.comparison import (
    Difference,
    Side,
    TombstoneCheck,
    alike,
    compare,
    intact,
    same,
)
from shippers.reconcile.receipt import DayReceipt, LogReceipt, Receipt
from shippers.sinks.protocol import Sink
from shippers.sinks.read_back import Holdings, Stored

__all__ = ["Reconciliation"]

_BATCH: Final = 500
_BATCH_BYTES: Final = 2 << 20
_MAX_SUSPECTS: Final = 1000
_VANISHED_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class _Log:
    id: LogId
    segments: tuple[SegmentFile, ...]
    tombstones: tuple[Tombstone, ...]


class Reconciliation:
    """One comparison of all logs in some directories with one sink.

    sink           ships what is missing; None: only look
    acknowledged   the number that the sink's cursor has for a log; None where there is no cursor
    retired        whether the sink's index of a day, like ``2026-11-23``, was deleted by policy
    give_up_after  how long the sink may take nothing before what is left counts as missing
    """

    def __init__(
        self,
        directories: Sequence[Path],
        holdings: Holdings,
        *,
        name: str,
        sink: Sink | None = None,
        acknowledged: Callable[[str], int | None] = lambda _: None,
        retired: Callable[[str], bool] = lambda _: False,
        give_up_after: dt.timedelta = dt.timedelta(seconds=60),
        rng: random.Random | None = None,
    ) -> None:
        self._directories = tuple(directories)
        self._holdings = holdings
        self._name = name
        self._sink = sink
        self._acknowledged = acknowledged
        self._retired = retired
        self._give_up_seconds = give_up_after.total_seconds()
        self._rng = rng or random.Random()  # noqa: S311  (jitter, no secret)

    def run(self, now: dt.datetime) -> Receipt:
        """Compare everything.  Raises SinkRefused, OSError when a side cannot be read."""
        receipt = Receipt(self._name, self._holdings.address, now)
        self._holdings.refresh()
        for log in sorted(self._logs()):
            receipt.logs.append(self._log(log))
        receipt.strangers = self._holdings.strangers()
        return receipt

    def _logs(self) -> dict[LogId, _Log]:
        """What there is now: logs with segments, and those of which only tombstones are left."""
        segments: dict[LogId, tuple[SegmentFile, ...]] = {}
        found: list[Tombstone] = []
        for directory in self._directories:
            inventory = scan(directory)
            found += tombstones_in(inventory.logs)
            segments |= inventory.logs
        tombstones = by_log(found)
        ids = set(segments)
        for name in tombstones:
            try:
                ids.add(LogId.parse(name))
            except InvalidName:  # about nothing that could ever have been here
                continue
        return {log: _Log(log, segments.get(log, ()), tombstones.get(str(log), ())) for log in ids}

    def _log(self, log: LogId) -> LogReceipt:
        for _ in range(_VANISHED_ATTEMPTS):
            try:
                return _LogRun(self, self._logs()[log]).run()
            except FileNotFoundError:
                continue  # retention deleted a segment meanwhile: look again
        raise AuditLogError(
            f"segments of {log} vanish faster than they can be read",
            hint="Run it again when retention has ended.",
        )

    # -- what is missing -------------------------------------------------------------------

    def ship(self, records: Sequence[Shipment]) -> list[tuple[Shipment, str]]:
        """Deliver; those that did not arrive, each with why.  "" stands for: is there already."""
        assert self._sink is not None  # noqa: S101  (only asked where there is one)
        left = list(records)
        failed: list[tuple[Shipment, str]] = []
        backoff, attempt = Backoff(), 0
        progress_at = time.monotonic()
        while left:
            again: list[tuple[Shipment, str]] = []
            for record, outcome in zip(left, self._sink.deliver(left), strict=True):
                if outcome.kind is Kind.RETRY:
                    again.append((record, outcome.reason))
                elif outcome.kind is Kind.QUARANTINED:
                    failed.append((record, f"refused: {outcome.reason}"))
            if len(again) < len(left):
                progress_at, attempt = time.monotonic(), 0
            left = [record for record, _ in again]
            if left and time.monotonic() - progress_at >= self._give_up_seconds:
                return failed + again
            if left:
                attempt += 1
                time.sleep(backoff.delay(attempt, self._rng).total_seconds())
        return failed

    @property
    def ships(self) -> bool:
        return self._sink is not None

    @property
    def holdings(self) -> Holdings:
        return self._holdings

    def acknowledged(self, log: str) -> int | None:
        return self._acknowledged(log)

    def retired(self, day: str) -> bool:
        return self._retired(day)


class _LogRun:
    """The comparison of one log."""

    def __init__(self, whole: Reconciliation, log: _Log) -> None:
        self._whole = whole
        self._log = log
        self._name = str(log.id)
        self._receipt = LogReceipt(self._name)
        self._head = _newest_seq(log.segments)
        self._acknowledged = whole.acknowledged(self._name)
        self._checks = [TombstoneCheck(tombstone) for tombstone in log.tombstones]
        self._missing: list[Shipment] = []
        self._missing_bytes = 0
        self._suspects: dict[int, Stored] = {}
        self._day = DayReceipt("", Side(), Side())
        self._retired = False

    def run(self) -> LogReceipt:
        files = {segment.name.day.isoformat() for segment in self._log.segments}
        for day in sorted(files | set(self._whole.holdings.days(self._name))):
            self._compare_day(day)
        for check in self._checks:
            check.finish()
            day = check.tombstone.segment.removeprefix(f"{self._name}.")[:10]
            if not check.ok:
                self._receipt.find("deleted", day, check.tombstone.first_seq, check.problem)
        self._receipt.deleted = self._checks
        return self._receipt

    def _compare_day(self, day: str) -> None:
        self._day = DayReceipt(day, Side(), Side())
        self._retired = self._whole.retired(day)
        stored = self._whole.holdings.read(self._name, day)
        for difference in compare(self._records(day), stored, self._day.files, self._day.sink):
            if difference.kind == "missing":
                self._take_missing(difference)
            elif difference.kind == "different":
                self._take_different(difference.record, difference.stored)
            else:
                self._take_extra(difference)
        self._settle_missing()
        files = self._day.files
        for number, suspect in self._suspects.items():
            if not files.records or not (files.first_seq or 0) <= number <= (files.last_seq or 0):
                self._find_extra(suspect)
        self._suspects.clear()
        self._receipt.days.append(self._day)

    def _records(self, day: str) -> Iterator[tuple[Header, bytes]]:
        """The day's records in the files, by number; what is none is told."""
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
                            self._find("damaged", None, f"{where} is no record of this log and day")
                        elif header.seq <= last:
                            self._find("damaged", header.seq, "its number was used before")
                        elif self._head is None or header.seq <= self._head:
                            last = header.seq
                            yield header, line
                except LogDamaged as error:
                    self._find("damaged", None, f"{segment.name.logical}: {error.reason}")

    def _take_missing(self, difference: Difference) -> None:
        assert difference.record is not None  # noqa: S101  (missing means: the files have it)
        header, line = difference.record
        if self._retired:
            self._day.retired += 1
            return
        if self._acknowledged is not None and header.seq > self._acknowledged:
            self._day.pending += 1
            return
        self._missing.append(Shipment(line, header))
        self._missing_bytes += len(line)
        if len(self._missing) >= _BATCH or self._missing_bytes >= _BATCH_BYTES:
            self._settle_missing()

    def _settle_missing(self) -> None:
        """Look once more, by id, and ship what really is not there."""
        missing, self._missing, self._missing_bytes = self._missing, [], 0
        headers = [record.header for record in missing if record.header is not None]
        wanted: list[Shipment] = []
        for record, header, found in zip(
            missing, headers, self._whole.holdings.fetch(headers), strict=True
        ):
            if found is None:
                self._day.missing += 1
                if not self._whole.ships:
                    self._find("missing", header.seq, "it is not in the sink")
                elif line_hash(record.line) != header.hash:
                    self._find("missing", header.seq, "it is not in the sink, and damaged here")
                else:
                    wanted.append(record)
            elif alike(record.line, found):
                self._day.unsearchable += 1
            else:
                self._take_different((header, record.line), found)
        failed = self._whole.ship(wanted) if wanted else []
        self._day.reshipped += len(wanted) - len(failed)
        for record, reason in failed:
            seq = None if record.header is None else record.header.seq
            kind = "refused" if reason.startswith("refused: ") else "missing"
            self._find(kind, seq, f"it could not be shipped again: {reason}")

    def _take_different(self, record: tuple[Header, bytes] | None, stored: Stored | None) -> None:
        assert record is not None and stored is not None  # noqa: S101, PT018  (both have it)
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
        self._find("different", header.seq, detail)

    def _take_extra(self, difference: Difference) -> None:
        stored = difference.stored
        assert stored is not None  # noqa: S101  (extra means: the sink has it)
        number = stored.id.removeprefix(f"{self._name}:")
        check = next((check for check in self._checks if check.covers(stored.seq)), None)
        misnumbered = number != str(stored.seq) and number.isdecimal()
        if misnumbered and len(self._suspects) < _MAX_SUSPECTS:
            self._suspects[int(number)] = stored  # told as different, when that one is looked for
        elif check is not None:
            check.add(stored)
        elif self._head is not None and stored.seq > self._head and self._grew_to(stored):
            return
        else:
            self._find_extra(stored)

    def _grew_to(self, stored: Stored) -> bool:
        """Whether the log has the record by now: it was written and shipped meanwhile."""
        newest = _newest_seq(_segments_now(self._log.segments))
        return intact(stored.line) and newest is not None and stored.seq <= newest

    def _find_extra(self, stored: Stored) -> None:
        self._day.extra += 1
        fits = "it fits its own hash" if intact(stored.line) else "it does not fit its own hash"
        detail = f"the files do not have it and no tombstone names it; {fits}"
        self._find("extra", stored.seq, f"{stored.id[:200]}: {detail}")

    def _find(self, kind: str, seq: int | None, detail: str) -> None:
        self._receipt.find(kind, self._day.day, seq, detail)


def _segments_now(segments: tuple[SegmentFile, ...]) -> tuple[SegmentFile, ...]:
    if not segments:
        return ()
    return scan(segments[-1].path.parent).logs.get(segments[-1].name.log, ())


def _newest_seq(segments: tuple[SegmentFile, ...]) -> int | None:
    """The last record's number; None when it cannot be told."""
    for segment in reversed(segments):
        try:
            ends = bounds(segment)
        except LogDamaged:
            return None
        if ends is not None:
            return ends.last_seq
    return None
