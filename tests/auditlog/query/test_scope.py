from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.errors import QueryError
from auditlog.format.record import format_timestamp
from auditlog.query.scope import SearchScope

instants = st.datetimes(
    dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 4), timezones=st.just(dt.UTC)  # noqa: DTZ001  (the strategy adds the zone)
)  # fmt: skip


@given(since=st.none() | instants, until=st.none() | instants, at=instants)
def test_days(since: dt.datetime | None, until: dt.datetime | None, at: dt.datetime) -> None:
    if since and until and until <= since:
        return
    scope = SearchScope("*", since, until)
    if scope.since <= format_timestamp(at) < scope.until:
        assert scope.has_day(at.date())


def test_half_open() -> None:
    first = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    scope = SearchScope("*", first, first + dt.timedelta(days=1))
    assert [scope.has_day(dt.date(2026, 11, day)) for day in (22, 23, 24)] == [False, True, False]
    assert scope.since == "2026-11-23T00:00:00.000000Z"
    assert scope.until == "2026-11-24T00:00:00.000000Z"


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    at = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    for until in (at, at - dt.timedelta(seconds=1)):
        with pytest.raises(QueryError, match="swap --since and --until"):
            SearchScope("*", at, until)


def test_logs_by_a_glob() -> None:
    assert SearchScope("queen-rbee@*").has_log("queen-rbee@hive1")
    assert not SearchScope("queen-rbee@*").has_log("rbee-hive@gpu1")


def test_a_day_of_which_one_instant_is_in_the_range_is_in_it() -> None:
    midnight = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
    scope = SearchScope("*", None, midnight + dt.timedelta(microseconds=1))
    assert [scope.has_day(dt.date(2026, 11, day)) for day in (1, 23, 24, 25)] == [
        True,
        True,
        True,
        False,
    ]
    scope = SearchScope("*", midnight - dt.timedelta(microseconds=1))
    assert [scope.has_day(dt.date(2026, 11, day)) for day in (22, 23, 25)] == [False, True, True]


def test_without_bounds_every_timestamp_is_in_the_range() -> None:
    everything = SearchScope()
    assert everything.since < "0001-01-01T00:00:00.000000Z"
    assert everything.until > "9999-12-31T23:59:59.999999Z"
    assert everything.has_log("queen-rbee@hive1")


def test_what_was_asked_for_is_read_as_times() -> None:
    now = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
    scope = SearchScope.asked_for("q*", "yesterday", "yesterday", now)
    assert (scope.logs, scope.since[:10], scope.until[:10]) == ("q*", "2026-11-22", "2026-11-23")
    assert SearchScope.asked_for("*", None, None, now) == SearchScope()
