from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import auditlog
from auditlog.bridges.log_source import LogSource
from auditlog.errors import ForkedLog, LogClosed, LogFailed


def test_once(tmp_path: Path) -> None:
    opened: list[auditlog.Log] = []

    def open_log() -> auditlog.Log:
        opened.append(auditlog.open(tmp_path, service="s", host="h"))
        return opened[-1]

    source = LogSource(open_log)
    found: list[auditlog.Log] = []
    threads = [threading.Thread(target=lambda: found.append(source.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1
    assert set(found) == set(opened)
    source.close()
    assert source.current is None


def test_a_log_that_was_given_is_not_closed(log: auditlog.Log) -> None:
    source = LogSource(log)
    assert source.get() is log
    source.close()
    log.emit("still.open")


def test_reopened(log: auditlog.Log) -> None:
    now = [0.0]
    source = LogSource(log, now=lambda: now[0])
    log._commits.fail(LogFailed("the disk is gone"))
    for _ in range(2):
        with pytest.raises(LogFailed) as failed:
            source.get().emit("some.event")
        source.lost(failed.value)
    assert source.down
    now[0] = 0.9
    with pytest.raises(LogFailed, match="the disk is gone"):
        source.get()
    now[0] = 1.0
    assert not source.down
    source.get().emit("some.event").wait(10)
    source.recorded()
    assert source.ready


def test_reopened_later_each_time_it_fails_again(tmp_path: Path) -> None:
    now = [0.0]

    def open_log() -> auditlog.Log:
        raise LogClosed("not today")

    source = LogSource(open_log, now=lambda: now[0])
    source.lost(LogFailed("the disk is gone"))
    tries = []
    for second in range(40):
        now[0] = float(second)
        if not source.down:
            with pytest.raises(LogClosed):
                source.get()
            tries.append(second)
    assert tries[0] == 1
    assert len(tries) < 40


def test_a_log_that_cannot_be_opened_is_not_tried_at_every_event(tmp_path: Path) -> None:
    now = [0.0]
    tries = []

    def open_log() -> auditlog.Log:
        tries.append(now[0])
        return auditlog.open(tmp_path / "file" / "below", service="s", host="h")

    (tmp_path / "file").write_text("not a directory")
    source = LogSource(open_log, now=lambda: now[0])
    for now[0] in (0.0, 0.5, 0.9, 1.0):
        with pytest.raises(auditlog.NotAccessible):
            source.get()
    assert tries == [0.0, 1.0]
    (tmp_path / "file").unlink()
    now[0] = 3.0
    source.get().emit("some.event")
    source.close()
    assert [record.event_type for record in auditlog.read(tmp_path / "file/below")] == [
        "some.event"
    ]


def test_a_child_opens_a_log_of_its_own(tmp_path: Path) -> None:
    source = LogSource(
        lambda: auditlog.open(tmp_path, service="s", host="h", instance="auto", flush="batched")
    )
    parent = source.get().id
    child = os.fork()
    if child == 0:
        try:
            source.get().emit("in.child")
        except ForkedLog as error:
            source.lost(error)
        log = source.get()
        log.emit("in.child").wait(10)
        log.close()
        os._exit(0 if log.id != parent else 1)
    assert os.waitpid(child, 0)[1] == 0
    source.close()
    assert auditlog.verify(tmp_path).ok
