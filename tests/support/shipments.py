"""Shipments and batches for tests of what happens behind the harvester."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from auditlog.format.record import parse_header
from shippers.batch import Batch, Position, Shipment
from shippers.document import Document
from shippers.outcome import DUPLICATE, INDEXED, Outcome
from tests.support.logs import START, LogBuilder

__all__ = ["FakeSink", "batch_of", "shipments"]


def shipments(
    count: int, log: str = "queen-rbee@hive1", *, at: dt.datetime = START, **fields: Any
) -> list[Shipment]:
    """``count`` records of one log, from its first on, a second apart."""
    lines = LogBuilder(Path("unused"), log, at=at).make(count, **fields)
    return [Shipment(line, parse_header(line)) for line in lines]


def batch_of(records: Sequence[Shipment], start: Position, segment: str = "s") -> Batch:
    """A batch that holds exactly these records, behind ``start``."""
    ends, offset = [], start.offset if start.segment == segment else 0
    for line, _ in records:
        offset += len(line)
        ends.append(offset)
    log = records[0].header.log if records and records[0].header else "queen-rbee@hive1"
    size = sum(len(line) for line, _ in records)
    return Batch(log, start, segment, list(records), ends, size)


class FakeSink:
    """A sink in memory.  ``answer`` may decide the outcomes of a delivery instead; it may block."""

    def __init__(
        self,
        name: str = "fake",
        answer: Callable[[Sequence[Shipment]], list[Outcome] | None] = lambda _: None,
        max_in_flight: int = 2,
    ) -> None:
        self.name = name
        self.address = f"memory://{name}"
        self.max_in_flight = max_in_flight
        self.answer = answer
        self.stored: dict[tuple[str, int], bytes] = {}
        self.answer_documents: Callable[[Sequence[Document]], list[Outcome] | None] = lambda _: None
        self.documents: dict[tuple[str, str], Document] = {}
        self.deliveries = 0
        self._lock = threading.Lock()

    def deliver(self, records: Sequence[Shipment]) -> list[Outcome]:
        self.deliveries += 1
        answered = self.answer(records)
        if answered is None:
            answered = [INDEXED] * len(records)
        outcomes = []
        with self._lock:
            for (line, header), outcome in zip(records, answered, strict=True):
                assert header is not None
                key = (header.log, header.seq)
                if outcome is INDEXED and key in self.stored:
                    outcomes.append(DUPLICATE)
                    continue
                if outcome is INDEXED:
                    self.stored[key] = line
                outcomes.append(outcome)
        return outcomes

    def deliver_documents(self, documents: Sequence[Document]) -> list[Outcome]:
        self.deliveries += 1
        answered = self.answer_documents(documents) or [INDEXED] * len(documents)
        outcomes = []
        with self._lock:
            for document, outcome in zip(documents, answered, strict=True):
                key = (document.source, document.id)
                if outcome is INDEXED and key in self.documents:
                    outcomes.append(DUPLICATE)
                    continue
                if outcome is INDEXED:
                    self.documents[key] = document
                outcomes.append(outcome)
        return outcomes

    def close(self) -> None:
        pass
