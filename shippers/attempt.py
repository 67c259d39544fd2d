"""Attempt once to deliver a batch's pending items.  Runs in a worker thread.

Alarms and lines that are not records go straight to quarantine; stubs of erased records go nowhere.
Everything else goes to the sink, and what the sink refuses for good goes to quarantine too.  A
quarantined outcome is final only once its entry is durable.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from auditlog.format.record import RECORD_ERASED, stub_leaf
from shippers.item import Document
from shippers.name_check import NameCheck
from shippers.outcome import ERASED, INDEXED, DeliveryOutcome, OutcomeKind, quarantined, retry
from shippers.quarantine.store import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shippers.batch import Batch
    from shippers.item import Item
    from shippers.quarantine.store import Quarantine
    from shippers.sinks.protocol import Sink

__all__ = ["Attempt"]

_logger = logging.getLogger("auditlog.shippers")

_NOT_A_RECORD = quarantined("the line is not a record of this log")


class Attempt:
    """Makes attempts for one sink.  Thread-safe as its sink and quarantine are."""

    def __init__(
        self, sink: Sink, quarantine: Quarantine, clock: Callable[[], dt.datetime]
    ) -> None:
        self._sink = sink
        self._quarantine = quarantine
        self._clock = clock
        self._names = NameCheck(sink)

    def run(self, batch: Batch[Any], indices: Sequence[int]) -> list[DeliveryOutcome]:
        """Deliver the batch's items ``indices``; return one outcome for each, in their order."""
        if batch.alarms:
            entries = [
                Entry("chain_break", f"{a.kind}: {a.detail}", batch.log, a.segment, a.offset, a.seq)
                for a in batch.alarms
            ]
            try:
                self._quarantine.add(entries, self._clock())
            except OSError as error:
                return [_unwritable(error)] * len(indices)
            batch.alarms.clear()
        if indices and (refusal := self._names.refusal(batch)) is not None:
            return [refusal] * len(indices)
        items = [batch.items[index] for index in indices]
        settled = list(map(_settled, items))
        if not any(settled):
            outcomes = self._deliver(items)
        else:
            sent = [item for item, known in zip(items, settled, strict=True) if known is None]
            delivered = iter(self._deliver(sent))
            outcomes = [next(delivered) if known is None else known for known in settled]
        if outcomes.count(INDEXED) == len(outcomes):
            return outcomes  # the usual case
        self._enter_refused(batch, indices, outcomes)
        if any(outcome.alarm for outcome in outcomes):
            self._names.repeat(batch.log)
        return outcomes

    def _deliver(self, items: Sequence[Item]) -> list[DeliveryOutcome]:
        if not items:
            return []
        try:
            outcomes = self._sink.deliver(items)
        except Exception as error:
            # A sink must not raise (see its protocol); one that does must not stop the others.
            _logger.exception("sink %s raised while delivering", self._sink.name)
            return [retry(f"the sink failed with {type(error).__name__}")] * len(items)
        if len(outcomes) != len(items):
            reason = f"the sink gave {len(outcomes)} outcomes for {len(items)} records"
            return [retry(reason)] * len(items)
        return outcomes

    def _enter_refused(
        self, batch: Batch[Any], indices: Sequence[int], outcomes: list[DeliveryOutcome]
    ) -> None:
        refused = [
            n for n, outcome in enumerate(outcomes) if outcome.kind is OutcomeKind.QUARANTINED
        ]
        if not refused:
            return
        try:
            entries = [_entry(batch, indices[n], outcomes[n]) for n in refused]
            self._quarantine.add(entries, self._clock())
        except OSError as error:
            for n in refused:
                outcomes[n] = _unwritable(error)


def _settled(item: Item) -> DeliveryOutcome | None:
    """Return the outcome of an item that is not sent to a sink; None for any other."""
    if isinstance(item, Document):
        return None
    if item.header is None:
        return _NOT_A_RECORD
    # The type first: to look for a stub through a whole line is what a record costs here else.
    erased = item.header.event_type == RECORD_ERASED and stub_leaf(item.line) is not None
    return ERASED if erased else None


def _entry(batch: Batch[Any], index: int, outcome: DeliveryOutcome) -> Entry:
    item = batch.items[index]
    segment, offset = batch.place_of(index)
    document = item if isinstance(item, Document) else None
    header = None if isinstance(item, Document) else item.header
    kind = "tampered" if outcome.alarm else "not_a_record" if item.at is None else "refused"
    return Entry(
        kind,
        outcome.reason,
        batch.log if document is None else document.source,
        segment,
        offset,
        None if header is None else header.seq,
        outcome.status,
        outcome.server_message,
        item.line,
        document,
    )


def _unwritable(error: OSError) -> DeliveryOutcome:
    return retry(f"the quarantine cannot be written: {error.strerror}")
