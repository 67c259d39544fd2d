"""Define a lane: one log, file or journal's delivery state for one sink.

The delivery loop owns its lanes: it alone calls ``wake``, ``take``, ``settle``, ``back_off`` and
``rewind``.  The feed that made a lane says when there is something to read (``grew``) and saves its
position.

A lane that failed probes with one batch at a time and reads nothing new until that batch has its
final outcomes; other lanes go on meanwhile.  A lane waits for one of two reasons: it backs off
after a failure, or it lingers so that records written shortly after each other share a batch.  A
lane that backs off does not linger.
"""

from __future__ import annotations

from collections import deque
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from auditlog.format.record import parse_timestamp
from shippers.item import Shipment
from shippers.outcome import INDEXED
from shippers.seq_ranges import SeqRanges, with_seqs
from shippers.stats import Counts, LogStats
from shippers.window import Window

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from shippers.batch import Batch
    from shippers.outcome import DeliveryOutcome

__all__ = ["AnyLane", "Harvester", "Lane", "stats_of"]

P = TypeVar("P")


class Harvester(Protocol[P]):
    """Reads one lane.  It belongs to one delivery loop, which it never blocks.

    ``exhausted``: the last read returned nothing since the source has no more.  It is false while
    more is about to come; the lane is woken for that.
    """

    @property
    def exhausted(self) -> bool: ...

    def read(self, max_bytes: int, max_records: int) -> Batch[P] | None:
        """Return the next items; None if there are none for now.  An empty batch: call again.

        Raises AuditLogError, OSError; the position stays.
        """
        ...

    def rewind(self, position: P) -> None:
        """Go back to a position that was returned before."""
        ...

    def lag_bytes(self) -> int:
        """Bytes that are not read yet, as far as that is known."""
        ...

    def close(self) -> None: ...


class Lane(Generic[P]):
    """``name`` is the log's, file's or source's; ``start`` is where ``harvester`` reads on.

    live         the last read reached the end: what comes now was written just now
    saved        the position in the cursor file
    read_error   why the last read failed; None if it did not
    trouble      why nothing moves at the moment, or ""
    name_taken   the sink has another installation's records under its name
    unverified   records that the sink had, as far as it said, without their hash being compared
    """

    def __init__(
        self, name: str, harvester: Harvester[P], start: P, unverified: SeqRanges = ()
    ) -> None:
        self.name = name
        self.unverified = unverified
        self.live = False
        self.saved = start
        self.read_error: Exception | None = None
        self.trouble = ""
        self.name_taken = False
        self._harvester = harvester
        self._window = Window(start)
        self._to_retry: deque[Batch[P]] = deque()
        self._in_flight = 0
        self._at_end = False
        self._failures = 0
        self._retry_at = 0.0  # both on the monotonic clock; 0: not waiting
        self._linger_until = 0.0
        self._retries = self._unverified = 0
        self._alarms = self._tamper_alarms = 0
        self._bad_lines = self._cut_lines = 0

    # -- what others ask -------------------------------------------------------------------

    @property
    def position(self) -> P:
        """Everything before it has a final outcome."""
        return self._window.position

    @property
    def dirty(self) -> bool:
        """Whether the position is not saved yet."""
        return bool(self._window.position != self.saved)

    @property
    def held_bytes(self) -> int:
        """Memory of what is read and not passed."""
        return self._window.size_bytes

    @property
    def oldest_at(self) -> str | None:
        """The timestamp of the first held record without final outcome."""
        return self._window.oldest_at

    @property
    def at_end(self) -> bool:
        """Whether the last read found nothing more, and nothing has grown since."""
        return self._at_end

    @property
    def done(self) -> bool:
        """Whether everything that the source holds for now has its final outcome."""
        idle = self._at_end and not self._in_flight and not self._to_retry
        return idle and self._harvester.exhausted

    @property
    def counts(self) -> Counts:
        tally = self._window.tally
        return Counts(
            self._window.added,
            tally.indexed,
            tally.duplicate,
            tally.quarantined,
            self._retries,
            self._unverified,
            self._alarms,
            self._tamper_alarms,
            self._bad_lines,
            self._cut_lines,
        )

    def lag_bytes(self) -> int:
        """Bytes that are not read yet, as far as that is known."""
        return self._harvester.lag_bytes()

    # -- for the feed ----------------------------------------------------------------------

    def grew(self) -> None:
        """Note that there may be more to read."""
        self._at_end = False

    def close(self) -> None:
        self._harvester.close()

    # -- for the delivery loop -------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """The end of the lane's wait in monotonic seconds; None when it does not wait."""
        return self._retry_at or self._linger_until or None

    @property
    def lingers(self) -> bool:
        """Whether it waits so that more records share its next batch."""
        return bool(self._linger_until)

    @property
    def ready(self) -> bool:
        """Whether a batch can be taken now."""
        if self._retry_at or self._linger_until or (self._failures and self._in_flight):
            return False
        return bool(self._to_retry) or not self._at_end

    @property
    def retries_next(self) -> bool:
        """Whether ``take`` returns a failed batch again, which needs no new memory."""
        return bool(self._to_retry)

    @property
    def can_rewind(self) -> bool:
        """Whether it holds nothing but batches that wait for a retry."""
        return bool(self._to_retry) and not self._in_flight

    def wake(self, linger_until: float | None, batch_bytes: int) -> None:
        """Note new data.  With ``linger_until`` the lane waits for more, up to a full batch."""
        if linger_until is not None and not self._failures:
            if self._harvester.lag_bytes() >= batch_bytes:
                self._linger_until = 0.0
            elif self._at_end:
                self._linger_until = linger_until
        self._at_end = False

    def linger(self, until: float) -> None:
        """Wait for more records before the next read, unless the lane backs off."""
        if not self._failures:
            self._linger_until = until

    def end_wait(self, now: float) -> bool:
        """End a wait whose time is over; return whether there was one."""
        deadline = self.deadline
        if deadline is None or deadline > now:
            return False
        self._retry_at = self._linger_until = 0.0
        return True

    def take(self, max_bytes: int, max_records: int) -> Batch[P] | None:
        """Return the batch to deliver now, a failed one first; None at the end of the source.

        Raises AuditLogError, OSError if it cannot be read.
        """
        batch = self._to_retry.popleft() if self._to_retry else self._read(max_bytes, max_records)
        if batch is not None:
            self._in_flight += 1
        return batch

    def open_indices(self, batch: Batch[P]) -> list[int]:
        """The indices of the batch's items that lack a final outcome, in order."""
        return list(self._window.open_indices(batch))

    def settle(self, batch: Batch[P], outcomes: Sequence[DeliveryOutcome]) -> bool:
        """Note the outcomes of the open items; True if the batch needs no other attempt."""
        self._in_flight -= 1
        if outcomes.count(INDEXED) < len(outcomes):
            self._note_unverified(batch, outcomes)
            self._tamper_alarms += sum(outcome.alarm for outcome in outcomes)
            retried = [outcome for outcome in outcomes if not outcome.final]
            self._retries += len(retried)
            self.trouble = retried[0].reason if retried else self.trouble
        self.name_taken = any(outcome.name_taken for outcome in outcomes)
        if self._window.settle(batch, outcomes) and not batch.alarms:
            if not self._to_retry:
                self._failures, self.trouble = 0, ""
            return True
        self._to_retry.append(batch)
        return False

    def _note_unverified(self, batch: Batch[P], outcomes: Sequence[DeliveryOutcome]) -> None:
        """Before the position passes them: no cursor is saved beyond one that it does not name."""
        places = zip(self._window.open_indices(batch), outcomes, strict=False)
        items = [batch.items[index] for index, outcome in places if not outcome.verified]
        self._unverified += len(items)
        seqs = [item.header.seq for item in items if isinstance(item, Shipment) and item.header]
        if seqs:
            self.unverified = with_seqs(self.unverified, seqs)

    def back_off(self, now: float, seconds: Callable[[int], float]) -> None:
        """Wait before the next attempt; ``seconds`` is asked with the number of failures in a row.

        Several batches that fail together are one failure.
        """
        if not self._retry_at:
            self._failures += 1
            self._retry_at = now + seconds(self._failures)
            self._linger_until = 0.0

    def rewind(self) -> None:
        """Release all memory; items without a final outcome are read again from the source."""
        self._to_retry.clear()
        self._window.rewind()
        self._harvester.rewind(self._window.position)
        self._at_end = False

    def _read(self, max_bytes: int, max_records: int) -> Batch[P] | None:
        try:
            batch = self._harvester.read(max_bytes, max_records)
        except Exception as error:
            self.read_error, self.trouble = error, str(error)
            raise
        if self.read_error is not None:
            self.read_error, self._failures, self.trouble = None, 0, ""
        if batch is None:
            self._at_end = self.live = True
            return None
        # A full batch means a backlog; a smaller one has just reached the end.
        self.live = len(batch) < max_records and 2 * batch.size_bytes < max_bytes
        self._window.add(batch)
        self._alarms += len(batch.alarms)
        self._bad_lines += batch.bad_lines
        self._cut_lines += batch.cut_lines
        return batch


AnyLane = Lane[Any]


def stats_of(
    sink: str,
    log: str,
    kind: str,
    lanes: Iterable[AnyLane],
    *,
    ended: Counts | None = None,
    acknowledged_seq: int = 0,
    lag_records: int | None = None,
    unread_bytes: int = 0,
    unread_at: dt.datetime | None = None,
    last_at: dt.datetime | None = None,
    is_open: bool = False,
    restarts: int = 0,
    redactions: Mapping[str, int] | None = None,
    damage: Sequence[str] = (),
) -> LogStats:
    """The statistics of what ships as one log: a lane of an audit log, all lanes of a source.

    ``ended`` are the counts of lanes that are no more, ``unread_bytes`` those of no lane yet.
    Without ``lag_records`` the pending records are what is known of them.  ``damage`` says why
    something cannot be read while the rest goes on.
    """
    lanes = tuple(lanes)
    unreadable = [*(str(e) for lane in lanes if (e := lane.read_error) is not None), *damage]
    more = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
    counts = Counts.total([ended or Counts(), *(lane.counts for lane in lanes)])
    waiting = [at for lane in lanes if (at := lane.oldest_at) is not None]
    return LogStats(
        *astuple(counts),
        sink=sink,
        log=log,
        acknowledged_seq=acknowledged_seq,
        lag_records=counts.pending if lag_records is None else lag_records,
        lag_bytes=unread_bytes + sum(lane.lag_bytes() for lane in lanes),
        oldest_at=parse_timestamp(min(waiting)) if waiting else unread_at,
        trouble=next((lane.trouble for lane in lanes if lane.trouble), next(iter(damage), "")),
        kind=kind,
        last_at=last_at,
        is_open=is_open,
        restarts=restarts,
        redactions=redactions or {},
        name_taken=any(lane.name_taken for lane in lanes),
        unreadable=next(iter(unreadable), "") + more,
    )
