"""Group commit: order, poison, and a full disk."""

from __future__ import annotations

import errno
import gc
import os
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import auditlog
from auditlog import durable_fs
from auditlog.reading.head_note import known_head
from tests.support.waiting import impatient


def open_log(directory: Path, **options: Any) -> auditlog.Log:
    return auditlog.open(directory, service="queen-rbee", host="hive1", **options)


def test_in_order(tmp_path: Path) -> None:
    """When a ticket resolves, every record before it is in the file."""
    problems: list[str] = []
    with open_log(tmp_path, max_segment_bytes=1 << 17) as log:

        def work() -> None:
            for _ in range(60):
                ticket = log.emit("from.thread", details={"pad": "x" * 300})
                if log.stats().durable_seq < ticket.seq:
                    problems.append(f"seq {ticket.seq} resolved before its turn")

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not problems
    seqs = [record.seq for record in auditlog.read(tmp_path, log_events=True)]
    assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.parametrize("call", ["write_all", "fdatasync"])
def test_poisoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """One EIO, and no later record is written, although the disk would take it again."""
    log = open_log(tmp_path, flush="batched")
    durable = log.emit("before.it", durable=True)
    real, calls = getattr(durable_fs, call), []

    def fail_once(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(*arguments)

    monkeypatch.setattr(durable_fs, call, fail_once)
    ticket = log.emit("lost.one")
    with pytest.raises(auditlog.LogFailed) as failure:
        ticket.wait(timeout=60)
    assert failure.value.errno == errno.EIO
    assert failure.value.path is not None
    assert failure.value.path.suffix == ".ndjson"
    with pytest.raises(auditlog.LogFailed):
        log.emit("after.it")
    with pytest.raises(auditlog.LogFailed):
        log.close()
    assert len(calls) == 1
    monkeypatch.undo()
    assert [record.seq for record in auditlog.read(tmp_path, log_events=True)][-1] == durable.seq
    with open_log(tmp_path) as log:
        assert log.emit("a.new.start").seq == durable.seq + 2
    assert auditlog.verify(tmp_path).ok


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Half a line arrives, twice; then there is room again."""
    log = open_log(tmp_path)
    real, tries = durable_fs.write_all, []

    def half_a_line(fd: int, data: bytes) -> None:
        tries.append(len(data))
        if len(tries) <= 2:
            os.write(fd, data[: len(data) // 2])
            raise OSError(number, os.strerror(number))
        real(fd, data)

    monkeypatch.setattr(durable_fs, "write_all", half_a_line)
    ticket = log.emit("took.a.while")
    assert ticket.done()
    assert len(tries) == 3
    monkeypatch.undo()
    log.close()
    assert auditlog.verify(tmp_path).ok


def test_closing_on_a_full_disk_says_so_and_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(tmp_path, flush="batched")

    def no_room(_fd: int, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durable_fs, "write_all", no_room)
    ticket = log.emit("never.written")
    with impatient(log, 0.1), pytest.raises(auditlog.LogFailed, match="No space left"):
        log.close()
    with pytest.raises(auditlog.LogFailed):
        ticket.wait()
    monkeypatch.undo()
    open_log(tmp_path).close()
    assert auditlog.verify(tmp_path).ok


def test_a_waiting_thread_can_time_out_and_the_record_still_becomes_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log(tmp_path, flush="batched") as log:
        real, syncing, let_go = durable_fs.fdatasync, threading.Event(), threading.Event()

        def slow(fd: int) -> None:
            syncing.set()
            let_go.wait()
            real(fd)

        monkeypatch.setattr(durable_fs, "fdatasync", slow)
        first = log.emit("slow.one")
        leader = threading.Thread(target=first.wait)
        leader.start()
        assert syncing.wait(60)
        second = log.emit("slow.two")
        try:
            with pytest.raises(TimeoutError, match="not durable after"):
                second.wait(timeout=0.05)
        finally:
            let_go.set()
        assert second.wait(timeout=60).done()
        leader.join()


def test_a_thread_gives_up_waiting_for_a_commit_that_hangs_and_nobody_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, let_go = durable_fs.fdatasync, threading.Event()

    def slow(fd: int) -> None:
        let_go.wait()
        real(fd)

    with open_log(tmp_path) as log:
        monkeypatch.setattr(durable_fs, "fdatasync", slow)
        patient = threading.Thread(target=log.emit, args=("patient.one",))
        patient.start()
        try:
            with pytest.raises(auditlog.NotDurableYet, match="may still become durable"):
                log.emit("impatient.one", timeout=0.05)
        finally:
            let_go.set()
        patient.join()
    types = [record.event_type for record in auditlog.read(tmp_path, log_events=True)]
    assert {"patient.one", "impatient.one"} <= set(types)


def test_noted(tmp_path: Path) -> None:
    with open_log(tmp_path, max_segment_bytes=70_000) as log:
        for _ in range(10):
            log.emit("big.one", details={"pad": "x" * 20_000})
            newest = max(path.name for path in tmp_path.glob("*.ndjson"))
            assert str(known_head(tmp_path, log.id)) == newest
    assert newest.endswith(".0004.ndjson")


def test_a_mistake_on_the_commit_thread_fails_the_log_and_hangs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = open_log(tmp_path, flush="batched")

    def mistaken(_fd: int, _data: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(durable_fs, "write_all", mistaken)
    with pytest.raises(auditlog.LogFailed, match="ended with ZeroDivisionError"):
        log.emit("some.event", durable=True)
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    log.reopen()
    log.emit("after.it", durable=True)
    log.close()
    assert auditlog.verify(tmp_path).ok


class _Struck(Exception):
    """Raised by a signal handler."""


def test_interrupted(tmp_path: Path) -> None:
    """An exception at any moment of emit: the record is there or it is not, and the log goes on.

    The interpreter runs signal handlers where a function begins and behind a call of a built-in
    one; a profiler is told of these moments, and raises instead of a handler.
    """
    policy = auditlog.FlushPolicy.batched(max_delay=600)  # the timer does not help
    strikes = 0
    with open_log(tmp_path, flush=policy) as log:
        while _struck(log, "struck.one", strikes + 1):
            strikes += 1
            other = threading.Thread(
                target=log.emit, args=("other.thread",), kwargs={"durable": True}, daemon=True
            )
            if strikes % 2:  # the struck thread itself comes back first, or another one waits
                assert log.emit("same.thread", durable=True).done()
            other.start()
            other.join(60)
            assert not other.is_alive(), f"nobody commits after a strike at call {strikes}"
        assert strikes > 20
    assert auditlog.verify(tmp_path).ok
    types = [record.event_type for record in auditlog.read(tmp_path, log_events=True)]
    assert types.count("other.thread") == strikes
    assert types.count("same.thread") == (strikes + 1) // 2
    assert 0 < types.count("struck.one") <= strikes + 1


def _struck(log: auditlog.Log, event_type: str, at: int) -> bool:
    """Whether emit was struck at its moment number ``at``; it may have fewer."""
    moments = 0

    def strike(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal moments
        if event in ("call", "c_return"):
            moments += 1
            if moments == at:
                raise _Struck

    gc.disable()  # an exception in a callback of the collector reaches nobody
    try:
        sys.setprofile(strike)
        log.emit(event_type, durable=True)
    except _Struck:
        return True
    finally:
        sys.setprofile(None)
        gc.enable()
    return False
