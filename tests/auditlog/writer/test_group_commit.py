"""Group commit: order, poison, and a full disk."""

from __future__ import annotations

import errno
import gc
import os
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import auditlog
from auditlog import durable_fs
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
    seqs = [record.seq for record in auditlog.read(tmp_path)]
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
    assert [record.seq for record in auditlog.read(tmp_path)][-1] == durable.seq
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


def test_a_commit_that_ctrl_c_broke_off_is_made_by_the_keeper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper looks after the file once a second: the bytes that are left are our own."""
    real, strikes = durable_fs.fdatasync, [True]

    def struck(fd: int) -> None:
        if strikes and threading.current_thread() is threading.main_thread():
            strikes.clear()
            raise KeyboardInterrupt
        real(fd)

    policy = auditlog.FlushPolicy.batched(max_delay=3)
    with open_log(tmp_path, flush=policy) as log:
        monkeypatch.setattr(durable_fs, "fdatasync", struck)
        with pytest.raises(KeyboardInterrupt):
            log.emit("struck.one", durable=True)
        time.sleep(1.5)
        assert not log.stats().failed
        assert log.emit("after.it").wait(timeout=60).done()
    assert auditlog.verify(tmp_path).ok
    assert [r.event_type for r in auditlog.read(tmp_path)].count("struck.one") == 1


class _Struck(Exception):
    """What a signal handler raises."""


def _strike_twice(
    log: auditlog.Log, monkeypatch: pytest.MonkeyPatch, event_type: str, second_at: int
) -> bool:
    """Strike in the sync that emit leads, and once more so many calls later; whether it came.

    The interpreter runs signal handlers where a function begins and behind a call of a built-in
    one; these are the moments of which a profiler is told.
    """
    real, strikes, moments = durable_fs.fdatasync, [True], [0]

    def second(_frame: FrameType, event: str, _argument: object) -> None:
        if event in ("call", "c_return"):
            moments[0] += 1
            if moments[0] == second_at:
                raise _Struck

    def first(fd: int) -> None:
        if not strikes or threading.current_thread() is not threading.main_thread():
            real(fd)
            return
        strikes.clear()
        sys.setprofile(second)
        raise _Struck

    monkeypatch.setattr(durable_fs, "fdatasync", first)
    gc.disable()  # what is raised in a callback of the collector's reaches nobody
    try:
        log.emit(event_type, durable=True)
    except _Struck:
        return moments[0] >= second_at
    finally:
        sys.setprofile(None)
        gc.enable()
        monkeypatch.undo()
    pytest.fail("nothing was struck")


def test_lost_leader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Struck a second time wherever the first strike would have passed the lead on."""
    policy = auditlog.FlushPolicy.batched(max_delay=600)  # the timer does not help
    lost = second_at = 0
    with open_log(tmp_path, flush=policy) as log:
        while _strike_twice(log, monkeypatch, "struck.twice", second_at + 1):
            second_at += 1
            lost += log._committer._leader is not None
            other = threading.Thread(
                target=log.emit, args=("other.thread",), kwargs={"durable": True}, daemon=True
            )
            if second_at % 2:  # the struck thread itself comes back first, or another one waits
                assert log.emit("same.thread", durable=True).done()
            other.start()
            other.join(60)
            assert not other.is_alive(), f"nobody leads after a second strike at call {second_at}"
    assert lost > 3, "no strike came where it does harm"
    assert auditlog.verify(tmp_path).ok
    types = [record.event_type for record in auditlog.read(tmp_path)]
    assert types.count("struck.twice") == second_at + 1
