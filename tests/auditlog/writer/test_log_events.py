"""The records that a log writes about itself."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from auditlog.events.body import service_host
from auditlog.format.segment_names import LogId, SegmentName
from auditlog.writer import log_events
from auditlog.writer.recovery import Recovered, Torn

SERVICE_HOST = service_host("queen-rbee", "hive1")
NOW_NS = 1_795_418_000_123_456_789
NOW = "2026-11-23T07:13:20.123456Z"
SEGMENT = SegmentName(LogId("queen-rbee", "hive1"), dt.date(2026, 11, 22), 2)


def parsed(body: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(b"{%b}" % body)
    assert (fields["service"], fields["host"]) == ("queen-rbee", "hive1")
    assert fields["outcome"] == "success"
    return fields


def opened(recovered: Recovered, **options: Any) -> dict[str, Any]:
    fields = parsed(log_events.opened(SERVICE_HOST, recovered, pid=7, flush="immediate", **options))
    assert (fields["event_type"], fields["severity"]) == ("log.opened", "info")
    details: dict[str, Any] = fields["details"]
    return details


def test_the_first_segment_has_none_before_it() -> None:
    fields = parsed(log_events.segment_opened(SERVICE_HOST, None, 0, "ab" * 32))
    assert (fields["event_type"], fields["severity"]) == ("log.segment_opened", "info")
    assert fields["details"] == {"previous_segment": None}


def test_another_segment_names_the_one_before_with_its_size_and_last_hash() -> None:
    fields = parsed(log_events.segment_opened(SERVICE_HOST, SEGMENT, 4711, "ab" * 32))
    assert fields["details"] == {
        "previous_segment": "queen-rbee@hive1.2026-11-22.0002.ndjson",
        "previous_bytes": 4711,
        "previous_hash": "ab" * 32,
    }


def test_a_new_log_names_no_earlier_run() -> None:
    assert opened(Recovered()) == {"pid": 7, "flush": "immediate"}


@pytest.mark.parametrize("closed", [True, False])
def test_a_log_that_goes_on_says_how_the_run_before_ended(closed: bool) -> None:
    details = opened(Recovered(segment=SEGMENT, seq=42, closed=closed))
    assert details == {
        "pid": 7,
        "flush": "immediate",
        "previous_closed": closed,
        "previous_seq": 42,
    }


def test_a_successor_names_the_log_before_it_and_the_key_of_its_fingerprints() -> None:
    recovered = Recovered(predecessor=("queen-rbee@hive1", 41, "cd" * 32))
    assert opened(recovered, redaction_key="k1", installation="a" * 32) == {
        "pid": 7,
        "flush": "immediate",
        "predecessor": "queen-rbee@hive1",
        "predecessor_seq": 41,
        "predecessor_hash": "cd" * 32,
        "redaction_key": "k1",
        "installation": "a" * 32,
    }


def test_a_log_that_lies_in_the_future_names_its_successor() -> None:
    fields = parsed(log_events.succeeded(SERVICE_HOST, "queen-rbee+2@hive1", NOW_NS))
    assert (fields["event_type"], fields["severity"]) == ("log.succeeded", "error")
    assert fields["details"] == {"successor": "queen-rbee+2@hive1", "clock_at": NOW}


def test_a_closed_log_says_only_that() -> None:
    fields = parsed(log_events.closed(SERVICE_HOST))
    assert (fields["event_type"], fields["severity"]) == ("log.closed", "info")
    assert "details" not in fields


def test_a_torn_tail_that_was_cut_is_described() -> None:
    torn = Torn(SEGMENT.logical, 900, 33, "ef" * 32, "kept.torn")
    fields = parsed(log_events.recovered(SERVICE_HOST, torn))
    assert (fields["event_type"], fields["severity"]) == ("log.recovered", "warning")
    assert fields["details"] == {
        "segment": SEGMENT.logical,
        "offset": 900,
        "bytes": 33,
        "sha256": "ef" * 32,
        "kept": "kept.torn",
    }


def test_refused_events_are_counted() -> None:
    fields = parsed(log_events.events_refused(SERVICE_HOST, 3))
    assert (fields["event_type"], fields["severity"]) == ("log.events_refused", "error")
    assert fields["details"] == {"count": 3}


@pytest.mark.parametrize(
    ("step_ns", "seconds"), [(-3_600_000_000_000, -3600), (1_234_567, 0.001235)]
)
def test_a_step_of_the_clock_is_told_in_seconds(step_ns: int, seconds: float) -> None:
    fields = parsed(log_events.clock_stepped(SERVICE_HOST, NOW_NS, step_ns))
    assert (fields["event_type"], fields["severity"]) == ("log.clock_stepped", "warning")
    assert fields["details"] == {"step_seconds": seconds, "clock_at": NOW}


@pytest.mark.parametrize(("level", "severity"), [("low", "warning"), ("critical", "error")])
def test_little_space_is_an_error_only_when_it_is_critical(level: str, severity: str) -> None:
    fields = parsed(log_events.space_low(SERVICE_HOST, level, 12_345))
    assert (fields["event_type"], fields["severity"]) == ("log.space_low", severity)
    assert fields["details"] == {"level": level, "free_bytes": 12_345}
