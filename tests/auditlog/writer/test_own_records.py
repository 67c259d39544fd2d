"""Test the records that a log makes about itself, as its chain has them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

import auditlog
from auditlog.writer.clock import SECOND_NS

DAY_NS = 86_400 * SECOND_NS
NOON = 1_795_435_200 * SECOND_NS  # 2026-11-23T12:00:00Z


class Clock:
    """A wall clock that a test moves."""

    def __init__(self, now_ns: int = NOON) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def open_log(directory: Path, **options: Any) -> auditlog.Log:
    return auditlog.open(directory, service="queen-rbee", host="hive1", **options)


def recorded(directory: Path) -> list[tuple[str, Any]]:
    found = auditlog.read(directory, log_events=True)
    return [(record.event_type, record.fields.get("details")) for record in found]


def test_counted(tmp_path: Path) -> None:
    with open_log(tmp_path, heartbeat=None) as log:
        for _ in range(3):
            log._own.count_refusal()
        log._own.tick()
        log._own.tick()
        assert log.stats().refused == 3
    refused = [details for event_type, details in recorded(tmp_path) if "refused" in event_type]
    assert refused == [{"count": 3}]


def test_silent(tmp_path: Path) -> None:
    clock = Clock()
    log = open_log(tmp_path, clock=clock, space_low_bytes=1 << 61)
    log.close()
    clock.now_ns -= 3600 * SECOND_NS
    log._own.count_refusal()
    log._own._heartbeat._due_at = 0.0
    last = log.stats().last_seq
    log._own.tick()
    assert log.stats().last_seq == last
    assert recorded(tmp_path)[-1][0] == "log.closed"


@pytest.mark.parametrize("back", [3_600 * 10**9, DAY_NS])
def test_a_clock_stepped_back_is_recorded_and_the_day_stays(tmp_path: Path, back: int) -> None:
    clock = Clock()
    with open_log(tmp_path, clock=clock) as log:
        log.emit("before.it")
        clock.now_ns -= back
        log.emit("after.it")
    records = {record.event_type: record for record in auditlog.read(tmp_path, log_events=True)}
    stepped = records["log.clock_stepped"].fields["details"]
    assert stepped["step_seconds"] == pytest.approx(-back / 1e9, abs=5)
    assert len(list(tmp_path.glob("*.ndjson"))) == 1
    if back == DAY_NS:
        assert records["after.it"].at.day == 23
        assert records["after.it"].fields["details"]["clock_at"].startswith("2026-11-22T12:00:00")
    assert auditlog.verify(tmp_path).ok


def test_a_quiet_log_goes_on_in_a_new_segment_when_this_one_is_old(tmp_path: Path) -> None:
    now = [NOON]

    def opened() -> auditlog.Log:
        return auditlog.open(
            tmp_path,
            service="queen-rbee",
            host="hive1",
            clock=lambda: now[0],
            max_segment_age=dt.timedelta(hours=1),
        )

    def segments() -> list[str]:
        return sorted(path.name[-11:] for path in tmp_path.glob("*.ndjson"))

    with opened() as log:
        log.emit("pool.drained")
        now[0] += 3599 * SECOND_NS
        log._own.tick()
        assert segments() == ["0001.ndjson"]
        now[0] += SECOND_NS
        log._own.tick()
        log.flush()
        assert segments() == ["0001.ndjson", "0002.ndjson"]
    for waited, expected in ((60, 2), (3500, 2), (100, 3)):
        now[0] += waited * SECOND_NS
        with opened():
            assert len(segments()) == expected, "processes that live for seconds rotate, too"
    assert auditlog.verify(tmp_path).ok
