from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import auditlog
from auditlog.writer.clock import SECOND_NS

START = dt.datetime(2026, 11, 23, 22, tzinfo=dt.UTC)
TYPES = ("auth_success", "pool.drained", "pool.filled")


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two logs that write in turn, over midnight."""
    directory = tmp_path_factory.mktemp("audit")
    now = [int(START.timestamp()) * SECOND_NS]
    logs = [auditlog.open(directory, service=name, host="h", clock=lambda: now[0]) for name in "ab"]
    for number in range(12):
        now[0] += 1200 * SECOND_NS
        logs[number % 2].emit(TYPES[number % 3], details={"number": number})
    for log in logs:
        log.close()
    return directory


TIMES = st.none() | st.integers(-1, 16).map(lambda n: START + dt.timedelta(minutes=20 * n))


@given(
    since=TIMES,
    until=TIMES,
    types=st.none() | st.sampled_from(["pool.*", "auth_success", ("pool.filled", "log.*")]),
    merged=st.booleans(),
    log_events=st.booleans(),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_selected(audit: Path, since: Any, until: Any, types: Any, **how: bool) -> None:
    def wanted(record: auditlog.Record) -> bool:
        family = record.event_type.partition(".")[0]
        of_types = {
            None: True,
            "pool.*": family == "pool",
            "auth_success": record.event_type == "auth_success",
            ("pool.filled", "log.*"): record.event_type == "pool.filled" or family == "log",
        }[types]
        return (
            of_types
            and (since is None or since <= record.at)
            and (until is None or record.at < until)
            and (how["log_events"] or family != "log" or "log.*" in (types or ()))
        )

    expected = [record.hash for record in auditlog.read(audit, log_events=True) if wanted(record)]
    found = list(auditlog.read(audit, since=since, until=until, types=types, **how))
    assert sorted(record.hash for record in found) == sorted(expected)
    if how["merged"]:
        assert [record.at for record in found] == sorted(record.at for record in found)
    else:
        assert [record.hash for record in found] == expected


def test_what_a_log_records_of_itself_comes_when_asked_for(audit: Path) -> None:
    def families(**how: Any) -> set[str]:
        return {record.event_type.partition(".")[0] for record in auditlog.read(audit, **how)}

    assert "log" not in families()
    assert "log" in families(log_events=True)
    assert families(types="log.*") == {"log"}


def test_a_time_may_be_text(audit: Path) -> None:
    found = list(auditlog.read(audit, since="2026-11-24T01:00:00+00:00"))
    assert [record.details["number"] for record in found] == [8, 10, 9, 11]


@pytest.mark.parametrize("at", ["yesterday", "2026-11-23", dt.datetime(2026, 11, 23), 7])  # noqa: DTZ001  (the point)
def test_a_time_without_a_zone_is_refused(audit: Path, at: Any) -> None:
    with pytest.raises(auditlog.InvalidOption, match="since is not a time with a time zone"):
        auditlog.read(audit, since=at)


def test_followed(tmp_path: Path) -> None:
    with auditlog.open(tmp_path, service="a", host="h", max_segment_bytes=70_000) as log:
        log.emit("before.it")
        following = auditlog.read(tmp_path, follow=True)
        assert next(following).event_type == "before.it"
        writing = threading.Thread(
            target=lambda: [log.emit("some.event", details={"x": "y" * 20_000}) for _ in range(12)]
        )
        writing.start()
        found = [next(following) for _ in range(12)]
        writing.join()
    assert [record.event_type for record in found] == ["some.event"] * 12
    assert len({record.seq for record in found}) == 12
    following.close()  # type: ignore[attr-defined]  # it is a generator
