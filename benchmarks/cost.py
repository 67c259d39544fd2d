"""Measure the cost of a shipped record: CPU time of a process, user and system, and memory."""

from __future__ import annotations

import datetime as dt
import os
import resource
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import auditlog
from auditlog.format.record import parse_header
from benchmarks.agent_process import AgentProcess, wait_until_signed
from benchmarks.backlog import indexed
from benchmarks.harness import Case, Ratio
from benchmarks.shipper import RECORDS, setting
from shippers.item import Item, Shipment
from shippers.outcome import INDEXED, DeliveryOutcome
from shippers.service import ShippingService
from shippers.sinks.elasticsearch.index_template import index_template
from shippers.sinks.protocol import Sink
from shippers.sinks.sqlite.sink import SqliteSink
from tests.support.elasticsearch import Cluster, request

TITLE = f"Shipper: what a record costs, {RECORDS:,} records"
UNIT = "us or MB"
BATCH = 2_000
_PATIENCE_SECONDS = 600.0
_GIVE_UP_AFTER = dt.timedelta(minutes=1)
__all__ = ["CASES", "RATIOS", "TITLE", "UNIT", "setting"]


class _Nowhere:
    """A sink that takes everything at once: what is left is reading and verifying."""

    name = address = "nowhere"
    max_in_flight = 3

    def deliver(self, items: Sequence[Item]) -> list[DeliveryOutcome]:
        return [INDEXED] * len(items)

    def installations(self, log: str) -> frozenset[str]:  # noqa: ARG002  (the protocol's name)
        return frozenset()

    def close(self) -> None:
        pass


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _ship(sink: Sink) -> float:
    """Microseconds of CPU a record."""
    with tempfile.TemporaryDirectory() as state:
        service = ShippingService([os.environ["BENCHMARK_LOG"]], [sink], state)
        before = _cpu_seconds()
        shipped = service.run_once(give_up_after=_GIVE_UP_AFTER).shipped
        used = _cpu_seconds() - before
    sink.close()
    return used / shipped * 1e6


def ship_nowhere() -> float:
    """Microseconds of CPU a record, without a sink's own."""
    return _ship(_Nowhere())


def _by_agent(figure: Callable[[AgentProcess, float], float], *, signs: bool = False) -> float:
    """Return ``figure`` of an agent and its CPU seconds, once everything is shipped and signed."""
    cluster = Cluster(os.environ["BENCHMARK_URL"])
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    request(cluster.url, "PUT", f"/_index_template/{prefix}", index_template(prefix, replicas=0))
    backlog = Path(os.environ["BENCHMARK_LOG"])
    records = sum(1 for _ in auditlog.read(backlog, log_events=True))
    try:
        with tempfile.TemporaryDirectory(dir=backlog.parent) as place:
            log = Path(place, "log")
            log.mkdir(mode=0o700)
            with AgentProcess(log, cluster.url, prefix, Path(place), signs=signs) as agent:
                agent.wait_until_started()
                before = agent.cpu_seconds()
                for segment in backlog.glob("*.ndjson"):
                    (log / segment.name).hardlink_to(segment)
                deadline = time.monotonic() + _PATIENCE_SECONDS
                while (have := indexed(cluster.url, f"{prefix}-*")) < records:
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"{have} of {records} documents came")
                    time.sleep(0.05)
                if signs:
                    wait_until_signed(Path(place), records)
                time.sleep(1)  # the last cursor
                return figure(agent, agent.cpu_seconds() - before)
    finally:
        cluster.forget(prefix)


def _into_sqlite() -> float:
    with tempfile.TemporaryDirectory() as place:
        return _ship(SqliteSink("lite", Path(place, "records.sqlite")))


def _sqlite_seconds(work: Callable[[Path, list[Shipment]], None]) -> float:
    """Microseconds of wall time a record."""
    records = [
        Shipment(record.line, parse_header(record.line))
        for record in auditlog.read(os.environ["BENCHMARK_LOG"], log_events=True)
    ]
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        work(Path(place, "records.sqlite"), records)
        return (time.perf_counter() - began) / len(records) * 1e6


def _deliver(path: Path, records: list[Shipment]) -> None:
    sink = SqliteSink("lite", path)
    for start in range(0, len(records), BATCH):
        sink.deliver(records[start : start + BATCH])
    sink.close()


def _executemany(path: Path, records: list[Shipment]) -> None:
    """The same rows into the same table, each batch a transaction that is synced."""
    SqliteSink("lite", path).close()  # makes the table
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    for start in range(0, len(records), BATCH):
        rows = [
            (h.log, h.seq, h.day, h.timestamp, h.event_type, h.hash, line)
            for line, h in records[start : start + BATCH]
            if h is not None
        ]
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    connection.close()


CASES = {
    "CPU, nowhere": Case("read, chain verified, cursor durable", ship_nowhere),
    "CPU, agent": Case(
        "`auditctl agent` once started, into a real server whose own CPU is not counted (aim: 8)",
        lambda: _by_agent(lambda _, used: used / RECORDS * 1e6),
    ),
    "CPU, agent, signing": Case(
        "as before, and every record in a signed checkpoint (aim: 4.5)",
        lambda: _by_agent(lambda _, used: used / RECORDS * 1e6, signs=True),
    ),
    "CPU, SQLite": Case("the same into a file", _into_sqlite),
    "peak MB, agent": Case(
        "its process at its largest, as installed with the extra `agent` (aim: 100)",
        lambda: _by_agent(lambda agent, _: agent.peak_megabytes()),
    ),
    "peak MB, agent, signing": Case(
        "the same of an agent that signs (aim: 100)",
        lambda: _by_agent(lambda agent, _: agent.peak_megabytes(), signs=True),
    ),
    "SQLite sink": Case(
        f"wall time, batches of {BATCH:,}, every outcome told", lambda: _sqlite_seconds(_deliver)
    ),
    "executemany": Case(
        "the same rows into the same table, nothing told", lambda: _sqlite_seconds(_executemany)
    ),
}
RATIOS = (Ratio("executemany", "SQLite sink", 0.6),)
