"""Run the durable steps of a shipper in processes that are killed at single system calls."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from auditlog.cursors import CursorStore
from auditlog.reading.inventory import scan
from shippers.quarantine.store import Entry, Quarantine
from shippers.sinks.sqlite.sink import SqliteSink
from shippers.sources.audit_log.harvester import LogHarvester
from tests.support.forked import at_barrier
from tests.support.shipments import shipments

__all__ = ["deliver_forked", "enter_forked", "harvest_forked"]

_NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
_SEGMENT = "queen-rbee@hive1.2026-11-23.0001.ndjson"
_ENTRY = Entry("refused", "too deep", "queen-rbee@hive1", _SEGMENT, 0, seq=1, line=b"{}\n")


def harvest_forked(place: str) -> None:
    """Read the log in the directory ``audit``, and into the file ``said`` how many lines it has."""
    at_barrier()
    (segments,) = scan(Path(place, "audit")).logs.values()
    harvester = LogHarvester(str(segments[0].name.log))
    harvester.refresh(segments)
    batch = harvester.read(1 << 20, 1000)
    Path(place, "said").write_text(f"{0 if batch is None else len(batch)} lines")


def deliver_forked(place: str) -> None:
    """Three records into a SQLite file, and into the file ``said`` what became of them."""
    at_barrier()
    outcomes = SqliteSink("main", Path(place, "records.sqlite")).deliver(shipments(3))
    Path(place, "said").write_text(" ".join(outcome.kind.value for outcome in outcomes))


def enter_forked(place: str) -> None:
    """One entry into a quarantine, as by a shipper that was started anew; ``said`` if it is new."""
    at_barrier()
    quarantine = Quarantine(place, "main")
    quarantine.recall(CursorStore(place))
    Path(place, "said").write_text(f"{quarantine.add([_ENTRY], _NOW)} new")
