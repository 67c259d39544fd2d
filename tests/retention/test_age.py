"""How old a segment, a file or an index is, and how that is said."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from retention.age import age_of, ago
from retention.groups import index_group, pattern_group
from retention.plan import plan
from retention.policy import ForeignPolicy, IndexPolicy, RetentionPolicy
from retention.subjects import AdoptedFile, Index, SourceProgress
from tests.support.foreign import content_at
from tests.support.retention_facts import (
    DAY,
    NO_GATE,
    POLICY,
    START,
    facts_of,
    segment,
    verdicts,
)

FORMS_ZST = (".zst",)
SECOND = dt.timedelta(seconds=1)
MOMENT = dt.timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("age_days", "forms", "verdict"),
    [
        (29.99, ("",), "keep too_recent"),
        (30, ("",), "compress age"),
        (89.99, ("",), "compress age"),
        (89.99, FORMS_ZST, "keep too_recent"),
        (90, FORMS_ZST, "delete age"),
        (90, ("",), "delete age"),
        (90, ("", ".zst"), "delete age"),
        (40, ("", ".zst"), "compress age"),
    ],
)
def test_aged_from_the_last_record(age_days: float, forms: tuple[str, ...], verdict: str) -> None:
    old = segment(0, forms=forms, last_at=START + dt.timedelta(hours=23))
    now = START + dt.timedelta(hours=23) + age_days * DAY
    assert verdicts(plan(facts_of(old, segment(1)), POLICY, NO_GATE, (), now))[0] == verdict


def test_a_clock_set_back_does_not_make_a_segment_older_than_its_day() -> None:
    old = segment(50, last_at=START)
    for age_days, verdict in ((29, "keep too_recent"), (89, "compress age"), (90, "delete age")):
        now = START + (50 + age_days) * DAY
        decided = plan(facts_of(old, segment(51)), POLICY, NO_GATE, (), now)
        assert verdicts(decided)[0] == verdict


@pytest.mark.parametrize(
    ("age", "keep_at_least", "detail"),
    [
        (40 * DAY, 1, "last record 40 d ago, compressed after 30d"),
        (90 * DAY, 1, "last record 90 d ago, deleted after 90d"),
        (40 * DAY, 3, "last record 40 d ago, compressed after 30d"),
        (
            90 * DAY,
            3,
            "last record 90 d ago, deleted after 90d; it is among the 3 newest of its log",
        ),
    ],
)
def test_the_detail_says_why_a_segment_is_not_deleted_yet(
    age: dt.timedelta, keep_at_least: int, detail: str
) -> None:
    policy = RetentionPolicy(keep_at_least=keep_at_least, max_delete_fraction=1.0)
    facts = facts_of(segment(0, last_at=START), segment(1))
    assert plan(facts, policy, NO_GATE, (), START + age).actions[0].detail == detail


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (2 * DAY - MOMENT, "1 d ago"),
        (DAY, "1 d ago"),
        (DAY - MOMENT, "86399 s ago"),
        (1.5 * SECOND, "1 s ago"),
        (dt.timedelta(0), "0 s ago"),
        (-5 * SECOND, "0 s ago"),
    ],
)
def test_an_age_is_told_in_days_or_seconds(age: dt.timedelta, said: str) -> None:
    assert ago(age) == said


def test_an_index_is_as_old_as_the_end_of_its_last_day() -> None:
    policy = IndexPolicy("main", ("http://a:9200",), "p", 30 * DAY, 0.5)
    week = Index("p-2026.31", "u", 3, 100, START.date(), START.date() + 6 * DAY)
    for now in (START + 7 * DAY, START + 37 * DAY):
        age = now - (START + 7 * DAY)
        said = f"its day ended {ago(age)}, deleted after 30d"
        assert age_of(week, index_group(policy, (), now, None)) == (said, age)


@pytest.mark.parametrize(
    ("known", "progress", "measured", "unshipped"),
    [
        ({"content": content_at(START)}, (), "last line", True),
        ({"content": content_at(START)}, (SourceProgress("old", "main", ""),), "last line", False),
        ({"content": content_at(START - DAY, untimed=1)}, (), "modified", True),
        ({"seen_at": START}, (), "last line", False),
        ({}, (), "modified", False),
    ],
)
def test_a_file_is_as_old_as_its_last_line_or_its_last_change(
    known: Any, progress: tuple[SourceProgress, ...], measured: str, unshipped: bool
) -> None:
    """Where nothing waits for it to be shipped, that is said with its age."""
    policy = ForeignPolicy("*.ndjson", POLICY, "not_required")
    file = AdoptedFile(Path("a"), ("",), 1, policy, START, progress=progress, **known)
    said, age = age_of(file, pattern_group(policy, (), START + 40 * DAY))
    assert age == 40 * DAY
    assert said.startswith(f"{measured} 40 d ago, compressed after 30d")
    assert ("no source ships it, and none is required" in said) == unshipped
