"""Shipments and batches for tests of what happens behind the harvester."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from auditlog.format.record import parse_header
from shippers.batch import Position, RecordBatch
from shippers.item import Document, Item, Shipment
from shippers.outcome import DUPLICATE, INDEXED, DeliveryOutcome
from shippers.sources.audit_log.origin import installation_of
from tests.support.logs import START, LogBuilder

__all__ = ["FakeSink", "batch_of", "shipments"]


def shipments(
    count: int, log: str = "queen-rbee@hive1", *, at: dt.datetime = START, **fields: Any
) -> list[Shipment]:
    """``count`` records of one log, from its first on, a second apart."""
    lines = LogBuilder(Path("unused"), log, at=at).make(count, **fields)
    return [Shipment(line, parse_header(line)) for line in lines]


def batch_of(records: Sequence[Shipment], start: Position, segment: str = "s") -> RecordBatch:
    """A batch that holds exactly these records, behind ``start``."""
    ends, offset = [], start.offset if start.segment == segment else 0
    for line, _ in records:
        offset += len(line)
        ends.append(offset)
    log = records[0].header.log if records and records[0].header else "queen-rbee@hive1"
    size = sum(len(line) for line, _ in records)
    return RecordBatch(
        log=log, start=start, segment=segment, items=list(records), ends=ends, size_bytes=size
    )


class FakeSink:
    """A sink in memory.  ``answer`` may decide the outcomes of a delivery instead; it may block.

    It is asked for records, ``answer_documents`` for documents.
    """

    def __init__(
        self,
        name: str = "fake",
        answer: Callable[[Sequence[Shipment]], list[DeliveryOutcome] | None] = lambda _: None,
        max_in_flight: int = 2,
    ) -> None:
        self.name = name
        self.address = f"memory://{name}"
        self.max_in_flight = max_in_flight
        self.answer = answer
        self.stored: dict[tuple[str, int], bytes] = {}
        self.answer_documents: Callable[[Sequence[Document]], list[DeliveryOutcome] | None] = (
            lambda _: None
        )
        self.documents: dict[tuple[str, str], Document] = {}
        self.deliveries = 0
        self._lock = threading.Lock()

    def deliver(self, items: Sequence[Item]) -> list[DeliveryOutcome]:
        self.deliveries += 1
        records = [item for item in items if isinstance(item, Shipment)]
        documents = [item for item in items if isinstance(item, Document)]
        answered: list[DeliveryOutcome] = []
        if records:
            answered += self.answer(records) or [INDEXED] * len(records)
        if documents:
            answered += self.answer_documents(documents) or [INDEXED] * len(documents)
        with self._lock:
            return [
                self._store(item, outcome)
                for item, outcome in zip([*records, *documents], answered, strict=True)
            ]

    def _store(self, item: Item, outcome: DeliveryOutcome) -> DeliveryOutcome:
        if outcome is not INDEXED:
            return outcome
        if isinstance(item, Document):
            known = (item.source, item.id) in self.documents
            self.documents.setdefault((item.source, item.id), item)
        else:
            assert item.header is not None
            key = (item.header.log, item.header.seq)
            known = key in self.stored
            self.stored.setdefault(key, item.line)
        return DUPLICATE if known else INDEXED

    def installations(self, log: str) -> frozenset[str]:
        return frozenset(
            found
            for (stored, _), line in list(self.stored.items())
            if stored == log and (found := installation_of(line))
        )

    def close(self) -> None:
        pass
