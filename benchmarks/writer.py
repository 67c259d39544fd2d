"""Compare the writer with logging libraries in use today, and with the disk itself."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson
import structlog

import auditlog
from auditlog.bridges.logging import AuditHandler
from auditlog.events import body, field_kinds
from auditlog.events.actor import Actor
from benchmarks.harness import Case, Ratio
from benchmarks.workload import ACTORS, address_of, natural, typed, user_of

TITLE = "Writer: events a second"
UNIT = "events/s"
NOTES = """\
Beside the version of 23 November (1692405: leader election instead of a commit thread, no salt, no
redaction policy), both on a quiet machine, typed events with a shared actor, taking turns, medians
of five pairs: batched 0.84 of its events a second (11.2 us of CPU time a call for 9.6), immediate
0.81 with one thread, 0.94 with 8 and 1.03 with 64, asyncio 0.89.

Where the caller's CPU time of a batched call by name goes, in microseconds (`time.thread_time`,
the least of seven runs on a shared processor, on which structlog took 12 to 13):

- encode 7: actor 1.6, resource 0.9, details 1.5, the text of the record 0.7; the rest passes
  seven arguments through three calls, and checks outcome, severity and type;
- append 4: SHA-256 0.9 to 1.4, salt, line and number. A record needs the hash of the one before
  it, so no thread can help;
- queue and ticket 2.5: lock, clock, ticket, and the look whether the commit thread is to be
  woken.

A typed event with a fresh actor makes two checked objects first, 1.9 and 2.2. `logging` itself
takes 9, its bridge 4 before emit is called. No function takes more than a tenth of the whole:
what is left is the interpreter's. One thread with an immediate log changes threads twice for each
record, which a bare loop does not: callers never touch the file, so that each wait has a bound
however slow the disk.
"""
MANY = 100_000
FEW = 3_000


@contextmanager
def setting() -> Iterator[Mapping[str, str]]:
    """Yield no shared setting: every case writes into a directory of its own on one file system."""
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
            logger.info("event", event_type="task.submitted", **natural(number))
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
        line = orjson.dumps(natural(number))[:-1] + b',"prev_hash":"' + previous + b'"}'
        previous = hashlib.sha256(line).hexdigest().encode()
    return MANY / (time.perf_counter() - began)


def _batched_calls(call: Callable[[auditlog.Log, int], object]) -> float:
    """``call`` emits one event; all are durable at the end."""
    with (
        tempfile.TemporaryDirectory() as directory,
        auditlog.open(directory, service="queen-rbee", host="hive1", flush="batched") as log,
    ):
        began = time.perf_counter()
        for number in range(MANY):
            call(log, number)
        log.flush()
        return MANY / (time.perf_counter() - began)


def _by_name() -> float:
    return _batched_calls(lambda log, number: log.emit("task.submitted", **natural(number)))


def _fresh_actor() -> float:
    return _batched_calls(
        lambda log, number: log.emit(
            typed(number, Actor(user_of(number), address_of(number), "bearer_token"))
        )
    )


def _shared_actor() -> float:
    return _batched_calls(lambda log, number: log.emit(typed(number, ACTORS[number & 31])))


def _logging_bridge() -> float:
    """The standard library's logging, with the event's fields as extra."""
    logger = logging.Logger("service", logging.INFO)

    def call(log: auditlog.Log, number: int) -> None:
        if not logger.handlers:
            logger.addHandler(AuditHandler(log))
        logger.info("submitted", extra={"event_type": "task.submitted", **natural(number)})

    return _batched_calls(call)


def _batched() -> float:
    return _shared_actor()


def _batched_without_redaction() -> float:
    """Measure the cost of cleaning: the same without the search for secrets and controls."""
    for name in ("Id", "Label", "Text"):  # before the first event is made: its code is written then
        field_kinds.KINDS[name].json = None
    vars(body)["PLAIN_LENGTH"] = 1 << 30  # no text is long enough to be looked at
    return _batched()


def _immediate(threads: int) -> float:
    each = max(100, FEW * (2 if threads > 1 else 1) // threads)
    with (
        tempfile.TemporaryDirectory() as directory,
        auditlog.open(directory, service="queen-rbee", host="hive1") as log,
    ):

        def work() -> None:
            for number in range(each):
                log.emit("task.submitted", **natural(number))

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
            for number in range(each):
                await log.aemit("task.submitted", **natural(number))

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
    "by name": Case("emit with a name and plain mappings, as most code calls it", _by_name),
    "typed, fresh actor": Case("a typed event, an Actor made for each", _fresh_actor),
    "typed, shared actor": Case("typed events, 32 actors made before", _shared_actor),
    "logging bridge": Case("logger.info with the fields as extra", _logging_bridge),
    "typed, no redaction": Case(
        "as typed with a shared actor, nothing looked for", _batched_without_redaction
    ),
    "immediate, 1 thread": Case("emit by name; every call returns durable", lambda: _immediate(1)),
    "immediate, 8 threads": Case("as before, group commit", lambda: _immediate(8)),
    "immediate, 64 threads": Case("as before", lambda: _immediate(64)),
    "asyncio, 1,000 tasks": Case("await aemit: each returns durable", _asyncio),
}
RATIOS = (
    Ratio("by name", "structlog+orjson", 1.0),
    Ratio("typed, fresh actor", "structlog+orjson", 1.2),
    Ratio("typed, shared actor", "structlog+orjson", 1.5),
    Ratio("logging bridge", "structlog+orjson", 0.7),
    Ratio("typed, shared actor", "typed, no redaction", 0.85),
    Ratio("immediate, 1 thread", "write+fdatasync", 0.55),
    Ratio("immediate, 8 threads", "write+fdatasync", 2),
    Ratio("immediate, 64 threads", "write+fdatasync", 4),
    Ratio("asyncio, 1,000 tasks", "write+fdatasync", 12),
)
