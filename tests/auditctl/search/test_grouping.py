from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditctl.search import grouping as module
from auditctl.search.grouping import NONE, Grouping
from auditlog.errors import QueryError
from auditlog.format.record import Record, decode
from tests.support.logs import START, make_line
from tests.support.questions import bodies


def record(seq: int = 1, at: dt.datetime = START, **fields: Any) -> Record:
    return decode(make_line("queen-rbee@hive1", seq, at=at, **fields)[0])


def counted(by: str, *records: Record) -> Grouping:
    grouping = Grouping(by)
    for each in records:
        grouping.add(each)
    return grouping


@given(
    drawn=st.lists(bodies, max_size=8),
    by=st.sampled_from(["hour", "day", "actor", "event_type", "details.a", "log"]),
)
def test_sum(drawn: list[dict[str, Any]], by: str) -> None:
    records = [record(seq + 1, START + dt.timedelta(hours=seq), **body)
               for seq, body in enumerate(drawn)]  # fmt: skip
    grouping = counted(by, *records)
    assert grouping.total == len(records) == sum(count for _, count in grouping.groups())


def test_no_gaps() -> None:
    hours = counted("hour", *(record(at=START + dt.timedelta(hours=hour)) for hour in (0, 0, 3)))
    assert hours.groups() == [
        ("2026-11-23T07", 2),
        ("2026-11-23T08", 0),
        ("2026-11-23T09", 0),
        ("2026-11-23T10", 1),
    ]
    days = counted("day", record(), record(at=START + dt.timedelta(days=2)))
    assert [count for _, count in days.groups()] == [1, 0, 1]


def test_a_gap_of_years_is_not_filled() -> None:
    far = counted("hour", record(), record(at=START + dt.timedelta(days=4000)))
    assert len(far.groups()) <= module._MAX_GAPS + 1
    assert (module._MAX_GAPS, module._MAX_KEYS) == (1000, 100_000), "as the manual says"


def test_the_most_frequent_come_first_and_what_has_none_has_a_key() -> None:
    grouping = counted(
        "details.n", record(details={"n": 7}), record(details={"n": 7}), record(details={}),
        record(details={"n": True}), record(details={"n": {"m": 1}}),
    )  # fmt: skip
    assert grouping.groups() == [(NONE, 2), ("7", 2), ("true", 1)]


def test_too_many_different_values_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_KEYS", 3)
    grouping = counted("seq", *(record(seq) for seq in range(1, 8)), record(2))
    assert dict(grouping.groups()) == {"1": 1, "2": 2, "3": 1, "(other)": 4}


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(QueryError, match="Did you mean event_type"):
        Grouping("evnt_type")
