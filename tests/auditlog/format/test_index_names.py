from __future__ import annotations

import datetime as dt
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.index_names import IndexNames, IndexPeriod

PERIODS: list[IndexPeriod] = ["day", "week", "month"]
DAYS = st.dates(dt.date(1970, 1, 1), dt.date(2199, 12, 31))
PREFIX = "llama-orch-audit"


def test_stable() -> None:
    """Written down: another version of this program has to find the same index."""
    names = IndexNames("llama-orch-audit-{bucket:28}")
    made = {log: names.of(log, "2026-11-23") for log in ("queen-rbee@hive1", "rbee-hive@gpu-1")}
    assert made == {
        "queen-rbee@hive1": "llama-orch-audit-15-2026.11.23",
        "rbee-hive@gpu-1": "llama-orch-audit-09-2026.11.23",
    }
    assert IndexNames(PREFIX).of("any@log", "2026-11-23") == "llama-orch-audit-2026.11.23"
    assert IndexNames(PREFIX, "month").of("any@log", "2026-11-23") == "llama-orch-audit-2026.11"
    assert IndexNames(PREFIX, "week").of("any@log", "2026-12-31") == "llama-orch-audit-2026.w53"
    assert IndexNames(PREFIX, "week").of("any@log", "2027-01-01") == "llama-orch-audit-2026.w53"


@given(DAYS, st.sampled_from(PERIODS), st.sampled_from([PREFIX, f"{PREFIX}-{{bucket:100}}"]))
def test_reversed(day: dt.date, period: IndexPeriod, prefix: str) -> None:
    names = IndexNames(prefix, period)
    index = names.of("queen-rbee@hive1", day.isoformat())
    days = names.days(index)
    assert days is not None
    first, last = days
    assert first <= day <= last
    for inside in (first, last):
        assert names.of("queen-rbee@hive1", inside.isoformat()) == index
    for outside in (first - dt.timedelta(1), last + dt.timedelta(1)):
        assert names.of("queen-rbee@hive1", outside.isoformat()) != index
    assert index in names.all_of(day.isoformat())
    assert re.fullmatch(names.pattern.replace("*", ".*"), index)


@pytest.mark.parametrize(
    "name",
    ["", PREFIX, f"{PREFIX}-", f"{PREFIX}-2026.13", f"{PREFIX}-2026.02.30", f"{PREFIX}-2026.w54",
     f"{PREFIX}-2026.w00", f"{PREFIX}-2026.11.23-x", f"x-{PREFIX}-2026.11.23",
     f"{PREFIX}-07-2026.11.23", f"{PREFIX}-2026.11.2³"],
)  # fmt: skip
def test_another_name_has_no_days(name: str) -> None:
    assert IndexNames(PREFIX).days(name) is None


def test_buckets_are_filled_alike_and_all_named() -> None:
    names = IndexNames(f"{PREFIX}-{{bucket:10}}")
    made = [names.of(f"rbee-hive@gpu-{number}", "2026-11-23") for number in range(10_000)]
    assert set(made) == set(names.all_of("2026-11-23"))
    assert max(map(made.count, set(made))) < 1150


def test_other_sources_have_the_same_buckets_and_periods() -> None:
    names = IndexNames(f"{PREFIX}-{{bucket:28}}", "week").of_source("journal")
    assert names == IndexNames("llama-orch-journal-{bucket:28}", "week")
    assert IndexNames(PREFIX).of_source("journal") == IndexNames("llama-orch-journal")
    assert (names.plain, names.pattern) == ("llama-orch-journal", "llama-orch-journal-*-*")


@pytest.mark.parametrize(
    "prefix", ["a-{bucket:0}", "a-{bucket:1001}", "a-{bucket}", "{bucket:2}{bucket:2}", "a{b}"]
)
def test_a_prefix_that_cannot_work_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="bucket"):
        IndexNames(prefix)


def test_a_prefix_has_one_to_a_thousand_buckets() -> None:
    assert IndexNames("a-{bucket:1}").all_of("2026-11-23") == ("a-0-2026.11.23",)
    assert len(IndexNames("a-{bucket:1000}").all_of("2026-11-23")) == 1000
    with pytest.raises(ValueError, match="from 1 to 1000"):
        IndexNames("a-{bucket:1001}")


def test_no_month_is_the_zeroth() -> None:
    assert IndexNames(PREFIX).days(f"{PREFIX}-2026.00") is None
