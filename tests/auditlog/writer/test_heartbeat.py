"""A log that says that it is alive: when, with which counts, and never at the cost of an event."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import auditlog
from auditlog.errors import InvalidName, InvalidOption
from auditlog.writer.heartbeat import Heartbeats, HeartbeatSchedule
from tests.support.waiting import eventually

MINUTE = dt.timedelta(minutes=1)


def schedule(every: dt.timedelta = MINUTE, *, seq: int = 2) -> HeartbeatSchedule:
    return HeartbeatSchedule(every, 1000.0, seq=seq, refused=1)


def open_log(directory: Path, **options: Any) -> auditlog.Log:
    return auditlog.open(directory, service="queen-rbee", host="hive1", **options)


def heartbeats(directory: Path) -> list[dict[str, Any]]:
    records = auditlog.read(directory, log_events=True)
    return [record.fields["details"] for record in records if record.event_type == "log.heartbeat"]


def test_regular() -> None:
    beats = schedule()
    assert [beats.due(at) for at in (1000.0, 1059.9, 1060.0, 1061.0)] == [False, False, True, True]
    beats.beaten(1500.0, seq=3, refused=1)  # the thread hung; what it missed is not made up for
    assert [beats.due(at) for at in (1500.1, 1559.9, 1560.0)] == [False, False, True]
    assert not schedule(dt.timedelta(0)).due(1e9)


def test_counted() -> None:
    beats = schedule()
    expected = {"interval_seconds": 60.0, "records": 5, "refused": 2, "skipped": 0}
    assert beats.details(seq=7, refused=3) == expected
    beats.beaten(1060.0, seq=8, refused=3)
    expected |= {"records": 1, "refused": 0}
    assert beats.details(seq=9, refused=3) == expected


def test_skipped() -> None:
    beats = schedule()
    beats.skip(1060.0)
    assert not beats.due(1119.9)
    beats.skip(1120.0)
    assert beats.details(seq=2, refused=1)["skipped"] == 2
    beats.beaten(1180.0, seq=3, refused=1)
    assert beats.details(seq=3, refused=1)["skipped"] == 0


@pytest.mark.parametrize("every", [0.5, -1, dt.timedelta(milliseconds=1)])
def test_an_interval_that_cannot_be_kept_is_refused(every: dt.timedelta | float) -> None:
    with pytest.raises(InvalidOption, match="heartbeat"):
        Heartbeats.each(every)


def test_an_idle_log_beats_and_its_chain_is_whole(tmp_path: Path) -> None:
    figures = {"requests": 7}

    def counts() -> Mapping[str, int]:
        return figures

    with open_log(tmp_path, heartbeat=Heartbeats(dt.timedelta(seconds=1), counts)) as log:
        log.emit("task.done")
        eventually(lambda: len(heartbeats(tmp_path)) >= 2)
    beats = heartbeats(tmp_path)
    assert sum(beat.pop("records") for beat in beats) == 1
    expected = {"interval_seconds": 1.0, "refused": 0, "skipped": 0, "counts": figures}
    assert all(beat == expected for beat in beats)
    assert auditlog.verify(tmp_path).ok
    assert [record.event_type for record in auditlog.read(tmp_path)] == ["task.done"]


def test_counts_that_raise_do_not_end_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def counts() -> Mapping[str, int]:
        raise RuntimeError("no figures today")

    with open_log(tmp_path, heartbeat=Heartbeats(dt.timedelta(seconds=1), counts)) as log:
        eventually(lambda: bool(heartbeats(tmp_path)))
        log.emit("task.done")
    assert "counts" not in heartbeats(tmp_path)[0]
    assert "no figures today" in caplog.text


@pytest.mark.parametrize("none", [None, 0])
def test_without_heartbeats_and_by_default_a_short_run_has_none(
    tmp_path: Path, none: int | None
) -> None:
    with open_log(tmp_path / "none", heartbeat=none) as log:
        assert log.stats().last_seq == 2
    with open_log(tmp_path / "default") as log:
        log.emit("task.done")
    assert not heartbeats(tmp_path / "none")
    assert not heartbeats(tmp_path / "default")


def test_a_forked_child_beats_in_no_log_of_its_parent(tmp_path: Path) -> None:
    log = open_log(tmp_path, heartbeat=1)
    child = os.fork()
    if child == 0:
        os._exit(0 if log._closed else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    eventually(lambda: bool(heartbeats(tmp_path)))
    log.close()
    assert auditlog.verify(tmp_path).ok


def test_the_agents_log_cannot_be_opened_by_a_service(tmp_path: Path) -> None:
    with pytest.raises(InvalidName, match="library's own"):
        auditlog.open(tmp_path, service="auditlog-agent")
