"""Deliver quarantined entries again once their cause is fixed, then remove them.

An entry leaves the file only after its sink has acknowledged it.  After a kill in between, the next
run finds it still there, and the sink answers that it has it.  The shipper may run meanwhile: both
take the same lock to change the file.

Invariants (tests of the same name in tests/shippers/quarantine/test_retry.py):
  no_loss     an entry is in the file until the sink has it, wherever the process is killed
  no_double   an entry that the sink has is delivered again without a second copy
  kept        alarms, entries still refused and entries added meanwhile stay as they are
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shippers.item import Item
from shippers.outcome import DeliveryOutcome, OutcomeKind
from shippers.quarantine.entry import StoredEntry
from shippers.quarantine.store import changing, read_entries, take_out
from shippers.redelivery import MAX_BATCH, MAX_BATCH_BYTES, deliver_until_final
from shippers.sinks.protocol import Sink

__all__ = ["RetryResult", "retry_entries"]

_UNVERIFIED = "the sink has a record of this id, and this user may not read whether it is the same"


@dataclass(slots=True)
class RetryResult:
    """The entries of one retry, by outcome; refused and waiting ones with the reason."""

    delivered: int = 0
    refused: list[tuple[StoredEntry, str]] = field(default_factory=list)
    waiting: list[tuple[StoredEntry, str]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not self.refused and not self.waiting


def retry_entries(
    path: Path,
    sink: Sink,
    wanted: Callable[[StoredEntry], bool] = lambda _: True,
    *,
    give_up_after: dt.timedelta = dt.timedelta(seconds=60),
    rng: random.Random | None = None,
) -> RetryResult:
    """Deliver the wanted entries again and take out those that arrived.

    Raises QuarantineDamaged, OSError; the next run takes out what had arrived by then.
    """
    result, gone = RetryResult(), set[str]()
    for batch in _batches(entry for entry in read_entries(path) if wanted(entry)):
        items = [item for _, item in batch]
        outcomes = deliver_until_final(sink, items, give_up_after=give_up_after, rng=rng)
        for (entry, _), outcome in zip(batch, outcomes, strict=True):
            reason = _why_it_stays(outcome)
            if not outcome.final:
                result.waiting.append((entry, reason))
            elif reason:
                result.refused.append((entry, reason))
            else:
                result.delivered += 1
                gone.add(entry.id)
    if gone:
        with changing(path):
            take_out(path, gone)
    return result


def _batches(entries: Iterable[StoredEntry]) -> Iterator[list[tuple[StoredEntry, Item]]]:
    """Yield the deliverable entries in batches of bounded size: the file may be large."""
    batch: list[tuple[StoredEntry, Item]] = []
    size_bytes = 0
    for entry in entries:
        if (item := entry.item) is None:
            continue
        batch.append((entry, item))
        size_bytes += len(item.line)
        if len(batch) >= MAX_BATCH or size_bytes >= MAX_BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _why_it_stays(outcome: DeliveryOutcome) -> str:
    if outcome.kind in (OutcomeKind.RETRY, OutcomeKind.QUARANTINED):
        return outcome.reason
    return "" if outcome.verified else _UNVERIFIED
