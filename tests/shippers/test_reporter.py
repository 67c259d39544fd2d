from __future__ import annotations

import logging

import pytest

from shippers.outcome import INDEXED, quarantined, retry, tampered
from shippers.reporter import Reporter
from tests.support.shipments import FakeSink


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reporter(clock: Clock, caplog: pytest.LogCaptureFixture) -> Reporter:
    caplog.set_level(logging.INFO, "auditlog.shippers")
    return Reporter(FakeSink(), clock)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages since the last call, with their levels."""
    lines = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    caplog.clear()
    return lines


def test_once(reporter: Reporter, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """once: what does not change is said once, and its end is said too"""
    for _ in range(3):
        reporter.settled("a@h", [INDEXED, retry("busy")])
        clock.now += 60
    assert reporter.trouble == "busy"
    (line,) = said(caplog)
    assert line.startswith("WARNING sink ")
    assert line.endswith(": busy; trying again until it works")
    reporter.settled("a@h", [])  # nothing was sent, which proves nothing
    assert reporter.trouble
    for _ in range(2):
        reporter.settled("a@h", [INDEXED])
    assert not reporter.trouble
    (line,) = said(caplog)
    assert line.endswith("accepts records again")

    full = OSError(28, "No space left on device")
    for error in (full, full, None, None, full):
        reporter.saved(error)
    assert len(said(caplog)) == 2

    reporter.unreadable("a@h", full, "")
    reporter.unreadable("a@h", full, str(full))
    assert len(said(caplog)) == 1


def test_once_with_the_time_after_which_it_gives_up(caplog: pytest.LogCaptureFixture) -> None:
    Reporter(FakeSink(), give_up_seconds=60.0).settled("a@h", [retry("busy")])
    (line,) = said(caplog)
    assert line.endswith(": busy; trying again until nothing was accepted for 60 s")


def test_rarely(reporter: Reporter, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """rarely: trouble that keeps changing is said every ten seconds at most"""
    for second in range(25):
        reporter.settled("a@h", [retry(f"reason {second}")])
        assert reporter.trouble == f"reason {second}"
        clock.now += 1.0
    assert [line.partition("; ")[0].rpartition(": ")[2] for line in said(caplog)] == [
        "reason 0",
        "reason 10",
        "reason 20",
    ]


def test_what_goes_to_quarantine_is_said_and_an_alarm_is_an_error(
    reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    refused = quarantined("mapping refused", 400, "the document's own text")
    reporter.settled("a@h", [INDEXED, refused, refused])
    reporter.settled("a@h", [refused, tampered("0" * 64)])
    first, second = said(caplog)
    assert first.startswith("WARNING")
    assert "2 record(s) of a@h went to quarantine (mapping refused)" in first
    assert second.startswith("ERROR")
    assert "own text" not in first + second
