from __future__ import annotations

import datetime as dt
import doctest

import pytest

from auditlog.errors import QueryError
from auditlog.query import times
from auditlog.query.times import parse_time

NOW = dt.datetime(2026, 11, 23, 12, 34, 56, 789, tzinfo=dt.UTC)


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(times).failed == 0


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("now", NOW, NOW),
        ("today", at("2026-11-23T00:00Z"), at("2026-11-24T00:00Z")),
        ("yesterday", at("2026-11-22T00:00Z"), at("2026-11-23T00:00Z")),
        ("2026-02-28", at("2026-02-28T00:00Z"), at("2026-03-01T00:00Z")),
    ],
)
def test_whole(text: str, begin: dt.datetime, end: dt.datetime) -> None:
    assert parse_time(text, NOW) == begin
    assert parse_time(text, NOW, end=True) == end


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("10:30", "2026-11-23T10:30Z"),
        ("9:05:07", "2026-11-23T09:05:07Z"),
        ("2026-11-20 10:30", "2026-11-20T10:30Z"),
        ("2026-11-20T10:30:00.5", "2026-11-20T10:30:00.5Z"),
        ("2026-11-20T10:30:00+02:00", "2026-11-20T08:30Z"),
        ("2h ago", "2026-11-23T10:34:56.000789Z"),
        ("90 minutes  ago", "2026-11-23T11:04:56.000789Z"),
        ("3d", "2026-11-20T12:34:56.000789Z"),
        ("200d", "2026-05-07T12:34:56.000789Z"),
        ("-3d", "2026-11-20T12:34:56.000789Z"),
        ("1w ago", "2026-11-16T12:34:56.000789Z"),
        ("1d ago", "2026-11-22T12:34:56.000789Z"),
        ("1h ago", "2026-11-23T11:34:56.000789Z"),
        ("1m ago", "2026-11-23T12:33:56.000789Z"),
        ("1 s ago", "2026-11-23T12:34:55.000789Z"),
    ],
)
def test_utc(text: str, instant: str) -> None:
    local = NOW.astimezone(dt.timezone(dt.timedelta(hours=9)))
    assert parse_time(text, local) == at(instant) == parse_time(text, NOW, end=True)


@pytest.mark.parametrize(
    "text",
    ["", "25:00", "tomorow", "2026-13-01", "2026-11-31", "0001-01-01", "ago", "2 ago",
     "999999w ago", "2026-11-23T", "-2", "\u0661\u0662:\u0660\u0660"],
)  # fmt: skip
def test_refused(text: str) -> None:
    with pytest.raises(QueryError, match="is not a time"):
        parse_time(text, NOW)
