"""What a shipped record costs: CPU time of the whole process, user and system, and memory."""

from __future__ import annotations

import os
import resource
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import auditlog
from auditlog.record import parse_header
from benchmarks.harness import Case, Ratio
from benchmarks.shipper import RECORDS, setting
from shippers.batch import Shipment
from shippers.outcome import INDEXED, Outcome
from shippers.service import ShippingService
from shippers.sinks.connection import ElasticsearchOptions
from shippers.sinks.elasticsearch import ElasticsearchSink
from shippers.sinks.protocol import Sink
from shippers.sinks.sqlite import SqliteSink
from tests.support.elasticsearch import Cluster

TITLE = f"Shipper: what a record costs, {RECORDS:,} records"
UNIT = "us or MB"
BATCH = 2_000
__all__ = ["CASES", "RATIOS", "TITLE", "UNIT", "setting"]


class _Nowhere:
    """A sink that takes everything at once: what is left is reading and verifying."""

    name = address = "nowhere"
    max_in_flight = 3

    def deliver(self, records: Sequence[Shipment]) -> list[Outcome]:
        return [INDEXED] * len(records)

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
        shipped = service.run_once().shipped
        used = _cpu_seconds() - before
    sink.close()
    return used / shipped * 1e6


def _into_elasticsearch(figure: Callable[[float], float]) -> float:
    cluster = Cluster(os.environ["BENCHMARK_URL"], None)
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    options = ElasticsearchOptions(urls=(cluster.url,), prefix=prefix, replicas=0)
    try:
        return figure(_ship(ElasticsearchSink("main", options)))
    finally:
        cluster.forget(prefix)


def _peak_megabytes(_: float) -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _into_sqlite() -> float:
    with tempfile.TemporaryDirectory() as place:
        return _ship(SqliteSink("lite", Path(place, "records.sqlite")))


def _sqlite_seconds(work: Callable[[Path, list[Shipment]], None]) -> float:
    """Microseconds of wall time a record."""
    records = [
        Shipment(record.line, parse_header(record.line))
        for record in auditlog.read(os.environ["BENCHMARK_LOG"])
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
    "CPU, nowhere": Case("read, chain verified, cursor durable", lambda: _ship(_Nowhere())),
    "CPU, Elasticsearch": Case(
        "the same into a real server, whose own CPU is not counted",
        lambda: _into_elasticsearch(lambda used: used),
    ),
    "CPU, SQLite": Case("the same into a file", _into_sqlite),
    "peak MB, Elasticsearch": Case(
        "the process at its largest", lambda: _into_elasticsearch(_peak_megabytes)
    ),
    "SQLite sink": Case(
        f"wall time, batches of {BATCH:,}, every outcome told", lambda: _sqlite_seconds(_deliver)
    ),
    "executemany": Case(
        "the same rows into the same table, nothing told", lambda: _sqlite_seconds(_executemany)
    ),
}
RATIOS = (Ratio("executemany", "SQLite sink", 0.6),)
