from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditctl.report import counts as module
from auditctl.report.counts import OUTCOMES, REST, EventCounts
from auditlog.events import actor
from auditlog.format.record import Record, parse_header
from tests.support.logs import START, make_line

DAY = dt.timedelta(days=1)
events = st.lists(
    st.tuples(
        st.sampled_from(["task_submitted", "auth_failure", "pool.drained", "log.opened"]),
        st.sampled_from(OUTCOMES),
        st.sampled_from(["alice", "bob", None, "x" * 500]),
        st.integers(0, 40),
    ),
    max_size=40,
)


def record(event_type: str, outcome: str, user: str | None, day: int) -> Record:
    fields: dict[str, Any] = {"event_type": event_type, "outcome": outcome}
    fields["actor"] = {} if user is None else {"user_id": user, "ip": "192.0.2.7"}
    line, _ = make_line("queen-rbee@hive1", 1, at=START + day * DAY, **fields)
    header = parse_header(line)
    assert header is not None
    return Record(line, header)


@given(events)
def test_counted(made: list[tuple[str, str, str | None, int]]) -> None:
    """counted: the counts are those of a naive loop over the same records"""
    counts = EventCounts(START, START + 50 * DAY)
    for each in made:
        counts.add(record(*each))
    real = [each for each in made if each[0] != "log.opened"]
    assert (counts.records, counts.events) == (len(made), len(real))
    assert counts.types == Counter((kind, outcome) for kind, outcome, *_ in real)
    users = Counter((user or "")[:5] for _, _, user, _ in real if user)
    assert Counter({name[:5]: 0 for name, _ in counts.actors}) | users == users
    assert counts.actors.total() == users.total()
    days = Counter(((START + day * DAY).date().isoformat(), out) for _, out, _, day in real)
    assert counts.when == days
    assert counts.refused_logins == sum(kind == "auth_failure" for kind, *_ in real)


def test_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """bounded: any number of different names keeps at most MAX_NAMES of them, loses no count"""
    monkeypatch.setattr(module, "MAX_NAMES", 10)
    counts = EventCounts(START, START + DAY)
    for number in range(100):
        counts.add(record("auth_failure", "failure", f"user-{number}", 0))
    for counter in (counts.actors, counts.refusals):
        assert counter.total() == 100
        assert len(counter) <= 10 + len(OUTCOMES)
        assert sum(count for (name, _), count in counter.items() if name == REST) == 90
    assert counts.actors[REST, "failure"] == counts.refusals[REST, ""] == 90
    assert len(counts.newest_refusals) == 20
    assert counts.newest_refusals[-1].user == "user-99"


def test_a_few_days_are_counted_hour_by_hour() -> None:
    counts = EventCounts(START, START + DAY)
    counts.add(record("task_submitted", "success", "alice", 0))
    assert list(counts.when) == [("2026-11-23T07", "success")]


def test_from_three_days_on_it_is_day_by_day() -> None:
    assert EventCounts(START, START + 3 * DAY - dt.timedelta(microseconds=1)).hourly
    assert not EventCounts(START, START + 3 * DAY).hourly


def test_what_a_log_says_of_missing_events_is_a_notice() -> None:
    counts = EventCounts(START, START + DAY)
    counts.add(record("log.events_refused", "success", None, 0))
    counts.add(record("log.opened", "success", None, 0))
    assert counts.notices == {"log.events_refused": 1}
    assert counts.events == 0


def test_a_refused_login_is_whom_it_claimed_to_be_and_from_where() -> None:
    details = {"attempted_user": "root", "ip": "203.0.113.9"}
    line, _ = make_line("queen-rbee@hive1", 1, event_type="auth_failure", details=details)
    header = parse_header(line)
    assert header is not None
    counts = EventCounts(START, START + DAY)
    counts.add(Record(line, header))
    assert counts.refusals == {("root", "203.0.113.9"): 1}


def test_every_outcome_of_an_event_has_its_place() -> None:
    assert set(OUTCOMES) == set(actor.OUTCOMES)


def counted(**fields: Any) -> EventCounts:
    """The counts of a single refused login with these fields."""
    line, _ = make_line("queen-rbee@hive1", 7, event_type="auth_failure", **fields)
    header = parse_header(line)
    assert header is not None
    counts = EventCounts(START, START + DAY)
    counts.add(Record(line, header))
    return counts


def test_without_details_a_refused_login_is_that_of_its_actor() -> None:
    counts = counted(actor={"user_id": "alice", "ip": "192.0.2.7"}, reason="expired")
    assert counts.refusals == {("alice", "192.0.2.7"): 1}
    (refused,) = counts.newest_refusals
    assert (refused.log, refused.seq, refused.reason) == ("queen-rbee@hive1", 7, "expired")


@pytest.mark.parametrize("value", [None, 5, "text", []])
def test_fields_of_another_kind_than_expected_are_counted_as_absent(value: Any) -> None:
    counts = counted(actor=value, details=value, outcome="unheard of")
    assert counts.refusals == {("", ""): 1}
    assert counts.types == {("auth_failure", "success"): 1}
    assert counts.actors == {}


@pytest.mark.parametrize(
    ("length", "kept"), [(119, "a" * 119), (120, "a" * 120), (121, "a" * 120 + "…")]
)
def test_names_are_cut_behind_120_characters(length: int, kept: str) -> None:
    counts = counted(actor={"user_id": "a" * length}, details={})
    assert list(counts.actors) == [(kept, "success")]


def test_a_name_that_is_no_text_is_shown_as_it_is() -> None:
    assert list(counted(actor={"user_id": 5}, details={}).actors) == [("5", "success")]


def test_a_notice_names_its_record_and_its_meaning() -> None:
    counts = EventCounts(START, START + DAY)
    for _ in range(25):
        counts.add(record("log.recovered", "success", None, 0))
    assert counts.notices == {"log.recovered": 25}
    assert len(counts.newest_notices) == 20
    newest = counts.newest_notices[-1]
    assert (newest.log, newest.seq, newest.event_type) == ("queen-rbee@hive1", 1, "log.recovered")
    assert newest.meaning == "the writer opened the log again after a crash"


def test_the_counts_as_json() -> None:
    counts = EventCounts(START, START + 3 * DAY)
    for outcome in ("success", "denied", "denied"):
        counts.add(record("auth_failure", outcome, "bob", 0))
    counts.add(record("log.clock_stepped", "success", None, 0))
    assert counts.to_json() == {
        "records": 4,
        "events": 3,
        "unreadable": 0,
        "by_time": {"2026-11-23": {"denied": 2, "success": 1}},
        "by_type": {"auth_failure": {"denied": 2, "success": 1}},
        "by_actor": {"bob": {"denied": 2, "success": 1}},
        "refused_logins": [{"user": "bob", "ip": "192.0.2.7", "count": 3}],
        "notices": {"log.clock_stepped": 1},
    }
