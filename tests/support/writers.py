"""Write a log and note the promises received: the code of tests.support.forked's children.

Notes go out with writev(2), which nothing in the writer uses, so that a test can strike every
write(2) of the log and none of the notes.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import auditlog
from auditlog import AuditLogError, FlushPolicy, Ticket
from tests.support.forked import at_barrier
from tests.support.waiting import impatient

__all__ = ["DAY_NS", "NOON_NS", "faulty", "load", "stalled", "story", "struck_by_signals"]

NOON_NS = 1_795_435_200_000_000_000  # 2026-11-23T12:00:00Z
DAY_NS = 86_400_000_000_000


class Notes:
    """Appends lines to the file that the test reads."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)

    def say(self, text: str) -> None:
        os.writev(self._fd, [f"{text}\n".encode()])

    def acknowledged(self, ticket: Ticket, number: int) -> None:
        self.say(f"ack {ticket.seq} {ticket.hash} {number}")


class Clock:
    """A wall clock that the task moves; it ticks by a millisecond."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        self.now_ns += 1_000_000
        return self.now_ns


def _pad(number: int, size: int) -> str:
    return random.Random(number).randbytes(size // 2).hex()


def story(directory: str, acks: str, first: int = 1, day: int = 0, short: bool = False) -> None:
    """Open, write one by one and in batches, rotate by size and at midnight, close."""
    at_barrier()
    notes, clock, number = Notes(acks), Clock(NOON_NS + day * DAY_NS), first
    log = auditlog.open(
        directory,
        service="queen-rbee",
        host="hive1",
        flush=FlushPolicy.hybrid(max_delay=3600),
        max_segment_bytes=66_000,
        clock=clock,
        space_low_bytes=0,
        space_critical_bytes=0,
    )

    def emit(count: int, size: int) -> None:
        nonlocal number
        tickets = []
        for left in reversed(range(count)):
            details = {"number": number, "pad": _pad(number, size)}
            tickets.append((log.emit("crash.test", details=details, durable=left == 0), number))
            number += 1
        for ticket, noted in tickets:
            assert ticket.done()
            notes.acknowledged(ticket, noted)

    emit(1, 100)
    emit(6, 3000)
    if not short:
        emit(3, 30_000)
        clock.now_ns += DAY_NS
        emit(2, 100)
    log.close()
    notes.say("closed")


@contextlib.contextmanager
def _outcome(notes: Notes, what: str) -> Iterator[None]:
    try:
        yield
    except AuditLogError as error:
        answer: dict[str, Any] = {
            "error": type(error).__name__,
            "errno": error.errno,
            "path": error.path is not None,
            "hint": bool(error.hint),
            "text": str(error),
        }
    except OSError as error:
        answer = {
            "error": "OSError",
            "errno": error.errno,
            "path": bool(error.filename),
            "text": str(error),
        }
    else:
        answer = {"error": ""}
    notes.say(f"{what} {json.dumps(answer)}")


def faulty(
    directory: str,
    acks: str,
    *,
    at: str,
    size: int = 30_000,
    events: int = 6,
    limit_bytes: int = 0,
    group_readable: bool = False,
) -> None:
    """Open a log and emit ``events`` durable events, noting how each call ended.

    The barrier is before the open, or before the first event, as ``at`` says.  ``group_readable``
    is the option, under a umask that takes from the group what it gives.
    """
    if group_readable:
        os.umask(0o077)
    notes = Notes(acks)
    if at == "open":
        at_barrier()
    log: auditlog.Log | None = None
    with _outcome(notes, "open"):
        log = auditlog.open(
            directory,
            service="queen-rbee",
            host="hive1",
            max_segment_bytes=100_000,
            block_timeout=20,
            space_low_bytes=0,
            space_critical_bytes=0,
            group_readable=group_readable,
        )
    if log is None:
        # The same process tries again: an open that failed must leave no lock behind.
        with _outcome(notes, "again"):
            log = auditlog.open(
                directory, service="queen-rbee", host="hive1", group_readable=group_readable
            )
    if at == "emit":
        notes.say("opened")
        at_barrier()
    if limit_bytes:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    if log is None:
        return
    for number in range(1, events + 1):
        with _outcome(notes, "emit"):
            details = {"number": number, "pad": _pad(number, size)}
            notes.acknowledged(log.emit("crash.test", details=details), number)
    with _outcome(notes, "close"):
        log.close()


def load(directory: str, acks: str, service: str, seed: int, first: int) -> None:
    """Write until killed: several threads, some awaiting each event and some batches."""
    notes, rng = Notes(acks), random.Random(seed)
    flush = rng.choice(
        [
            FlushPolicy("immediate"),
            FlushPolicy.batched(max_delay=0.005),
            FlushPolicy.hybrid(max_delay=0.005),
        ]
    )
    log = auditlog.open(
        directory, service=service, host="hive1", flush=flush, max_segment_bytes=200_000
    )
    notes.say(f"opened {flush.mode}")
    numbers = iter(range(first, first + 10_000_000))

    def work(size: int, durable_every: int) -> None:
        waiting: deque[tuple[Ticket, int]] = deque()
        while True:
            number = next(numbers)
            details = {"number": number, "pad": _pad(number, size)}
            durable = number % durable_every == 0
            waiting.append((log.emit("crash.test", details=details, durable=durable), number))
            while waiting and waiting[0][0].done():
                notes.acknowledged(*waiting.popleft())

    for _ in range(rng.randrange(3)):
        threading.Thread(target=work, args=(rng.choice([40, 2000]), 7), daemon=True).start()
    work(rng.choice([40, 400, 20_000]), 40)


class Interrupted(Exception):
    """Raised by a signal handler in the middle of whatever runs."""


def struck_by_signals(directory: str, acks: str, events: int) -> None:
    """Emit while a handler raises again and again, as for Ctrl-C or a timeout by alarm(2).

    Not measured by coverage: what is raised inside its tracer leaves the tracer's lock held.
    """
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]  # None is what ends it
    notes = Notes(acks)
    armed = False

    def handler(number: int, frame: object) -> None:
        if armed:
            raise Interrupted

    signal.signal(signal.SIGALRM, handler)
    log = auditlog.open(directory, service="queen-rbee", host="hive1")
    rng = random.Random(1)
    interrupted = 0
    try:
        for number in range(1, events + 1):
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.00001, 0.0002))
                ticket = log.emit("crash.test", details={"number": number})
                armed = False
            except Interrupted:
                armed = False
                interrupted += 1
            else:
                notes.acknowledged(ticket, number)
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        notes.acknowledged(log.emit("goes.on", details={"number": events + 1}), events + 1)
        log.close()
    except AuditLogError as error:
        armed = False
        notes.say(f"failed {error}")
    notes.say(f"interrupted {interrupted}")
    notes.say("closed")


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  (one line of text)
        return int(file.read().split()[1]) * resource.getpagesize()


def stalled(directory: str, acks: str) -> None:
    """Emit while the disk does not answer, and note how much memory that took at most."""
    notes, queue_bytes = Notes(acks), 16 << 20
    log = auditlog.open(
        directory,
        service="queen-rbee",
        host="hive1",
        flush="batched",
        max_queue_bytes=queue_bytes,
        space_low_bytes=0,
        space_critical_bytes=0,
    )
    for _ in range(2000):
        log.emit("crash.test", details={"pad": "x" * 1000})
    log.flush()
    sync, answers = os.fdatasync, threading.Event()

    def answering_late(fd: int) -> None:
        answers.wait()
        sync(fd)

    os.fdatasync = answering_late
    before = _resident_bytes()
    accepted = refused = most = most_queued = 0
    with impatient(log, 0.05):
        while refused < 30 and accepted < 50_000:  # which would be 200 MB
            try:
                log.emit("crash.test", details={"number": accepted + 1, "pad": "x" * 4000})
            except auditlog.BufferFull:
                refused += 1
            else:
                accepted += 1
            if (accepted + refused) % 64 == 0 or refused:
                most = max(most, _resident_bytes())
                most_queued = max(most_queued, log.stats().queued_bytes)
    answers.set()
    log.flush()
    log.close()
    answer = {
        "accepted": accepted,
        "refused": refused,
        "grown_bytes": most - before,
        "most_queued_bytes": most_queued,
        "queue_bytes": queue_bytes,
    }
    notes.say(f"stalled {json.dumps(answer)}")
