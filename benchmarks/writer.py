"""The writer against what people use today, and against the disk itself."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson
import structlog

import auditlog
from auditlog.events import body, field_kinds
from benchmarks.harness import Case, Ratio
from benchmarks.workload import events, fields

TITLE = "Writer: events a second"
UNIT = "events/s"
MANY = 100_000
FEW = 3_000


@contextmanager
def setting() -> Iterator[Mapping[str, str]]:
    """Nothing is shared; every case writes into a directory of its own on the same file system."""
    yield {}


def _structlog() -> float:
    """structlog as its documentation recommends it for speed, with orjson, to a file, no fsync."""
    with tempfile.TemporaryDirectory() as directory, Path(directory, "log").open("wb") as file:
        structlog.configure(
            cache_logger_on_first_use=True,
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(20),
            logger_factory=structlog.BytesLoggerFactory(file=file),
        )
        logger = structlog.get_logger().bind(service="queen-rbee", host="hive1")
        began = time.perf_counter()
        for number in range(MANY):
            logger.info("event", **fields(number))
        file.flush()
        return MANY / (time.perf_counter() - began)


def _dumps(content: object, **_: object) -> bytes:
    return orjson.dumps(content)


def _write_fdatasync() -> float:
    line = b"x" * 540 + b"\n"
    with tempfile.TemporaryDirectory() as directory:
        fd = os.open(Path(directory, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        began = time.perf_counter()
        for _ in range(FEW):
            os.write(fd, line)
            os.fdatasync(fd)
        seconds = time.perf_counter() - began
        os.close(fd)
    return FEW / seconds


def _serialise_and_chain() -> float:
    previous = b"0" * 64
    began = time.perf_counter()
    for number in range(MANY):
        line = orjson.dumps(fields(number))[:-1] + b',"prev_hash":"' + previous + b'"}'
        previous = hashlib.sha256(line).hexdigest().encode()
    return MANY / (time.perf_counter() - began)


def _batched() -> float:
    with (
        tempfile.TemporaryDirectory() as directory,
        auditlog.open(directory, service="queen-rbee", host="hive1", flush="batched") as log,
    ):
        began = time.perf_counter()
        for event in events(MANY):
            log.emit(event)
        log.flush()
        return MANY / (time.perf_counter() - began)


def _batched_without_redaction() -> float:
    """What cleaning costs: the same with every look for secrets and controls taken out."""
    for name in ("Id", "Label", "Text"):  # before the first event is made: its code is written then
        field_kinds.KINDS[name].json = None
    body.suspicious = lambda _text: False  # type: ignore[assignment]  # a stub
    return _batched()


def _immediate(threads: int) -> float:
    each = max(100, FEW * (2 if threads > 1 else 1) // threads)
    with (
        tempfile.TemporaryDirectory() as directory,
        auditlog.open(directory, service="queen-rbee", host="hive1") as log,
    ):

        def work() -> None:
            for event in events(each):
                log.emit(event)

        workers = [threading.Thread(target=work) for _ in range(threads)]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return threads * each / (time.perf_counter() - began)


def _asyncio() -> float:
    tasks, each = 1000, 30

    async def run(log: auditlog.Log) -> float:
        async def work() -> None:
            for event in events(each):
                await log.aemit(event)

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(tasks)))
        return tasks * each / (time.perf_counter() - began)

    with (
        tempfile.TemporaryDirectory() as directory,
        auditlog.open(directory, service="queen-rbee", host="hive1") as log,
    ):
        return asyncio.run(run(log))


CASES = {
    "structlog+orjson": Case("the same fields to a file, never synced", _structlog),
    "serialise+chain": Case(
        "a dict, orjson and SHA-256 in a bare loop, nothing written", _serialise_and_chain
    ),
    "write+fdatasync": Case("540 bytes, then fdatasync, in a bare loop", _write_fdatasync),
    "batched, no redaction": Case("as batched, nothing looked for", _batched_without_redaction),
    "batched": Case("typed events, validated and redacted; durable at the end", _batched),
    "immediate, 1 thread": Case("every emit returns durable", lambda: _immediate(1)),
    "immediate, 8 threads": Case("as before, group commit", lambda: _immediate(8)),
    "immediate, 64 threads": Case("as before", lambda: _immediate(64)),
    "asyncio, 1,000 tasks": Case("await aemit: each returns durable", _asyncio),
}
RATIOS = (
    Ratio("batched", "structlog+orjson", 1.5),
    Ratio("batched", "serialise+chain", 0.45),
    Ratio("batched", "batched, no redaction", 0.85),
    Ratio("immediate, 1 thread", "write+fdatasync", 0.9),
    Ratio("immediate, 8 threads", "write+fdatasync", 3.5),
    Ratio("immediate, 64 threads", "write+fdatasync", 6),
    Ratio("asyncio, 1,000 tasks", "write+fdatasync", 25),
)
