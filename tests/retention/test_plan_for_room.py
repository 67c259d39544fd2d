"""Planning deletions for max_total_bytes."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.segment_names import LogId
from retention.holds import Hold
from retention.plan import Action, DirectoryPlan, plan
from retention.policy import ForeignPolicy, RetentionPolicy
from retention.subjects import AdoptedFile, Segment
from tests.support.foreign import content_at
from tests.support.retention_facts import (
    DAY,
    NO_GATE,
    START,
    Input,
    any_input,
    cursor_at,
    facts_of,
    gate_of,
    segment,
)

ZST = (".zst",)
limits = st.integers(1, 3000)  # a segment is a little more than 100 bytes


def limited(given_input: Input, limit: int) -> DirectoryPlan:
    (facts, gate), policy, holds, now = given_input
    return plan(facts, replace(policy, max_total_bytes=limit), gate, holds, now)


def is_counted(action: Action) -> bool:
    return isinstance(action.subject, Segment | AdoptedFile)


def day_of(action: Action) -> dt.date:
    """The day in a segment's name; that of the newest time in an adopted file."""
    if isinstance(action.subject, AdoptedFile):
        return action.subject.counted_from.date()
    assert isinstance(action.subject, Segment)
    return action.subject.file.name.day


def for_size(decided: DirectoryPlan) -> list[int]:
    return [n for n, action in enumerate(decided.actions) if action.reason == "size"]


@given(any_input, limits)
def test_protected(given_input: Input, limit: int) -> None:
    """Were every segment old, what goes for its size would go by the policy alone."""
    (facts, gate), policy, holds, now = given_input
    lasting = [replace(hold, expires_at=None) for hold in holds if hold.in_force(now)]
    aged = plan(facts, policy, gate, lasting, now + 99_999 * DAY)
    decided = limited(given_input, limit)
    for index in for_size(decided):
        assert decided.actions[index].action == "delete"
        assert aged.actions[index].action == "delete"


@given(any_input, limits)
def test_sparing(given_input: Input, limit: int) -> None:
    decided = limited(given_input, limit)
    kept = [a for a in decided.actions if a.action == "keep" and is_counted(a)]
    left = sum(action.size_bytes for action in kept)
    gone = for_size(decided)
    assert decided.over_bytes == max(0, left - limit)
    if gone:
        youngest = max(day_of(decided.actions[index]) for index in gone)
        last = [n for n in gone if day_of(decided.actions[n]) == youngest]
        assert left + max(decided.actions[n].size_bytes for n in last) > limit


@given(any_input, limits)
def test_oldest(given_input: Input, limit: int) -> None:
    (facts, gate), policy, holds, now = given_input
    lasting = [replace(hold, expires_at=None) for hold in holds if hold.in_force(now)]
    aged = plan(facts, policy, gate, lasting, now + 99_999 * DAY)
    decided = limited(given_input, limit)
    gone = [day_of(decided.actions[index]) for index in for_size(decided)]
    for action, old in zip(decided.actions, aged.actions, strict=True):
        grew = action.reason == "active"  # a file that was written to within the hour
        if action.action != "delete" and old.action == "delete" and not grew:
            assert all(day <= day_of(action) for day in gone)


def test_the_oldest_of_all_logs_go_until_the_rest_fits() -> None:
    other = LogId("rbee-hive", "hive1")
    facts = facts_of(
        segment(0, forms=ZST), segment(2), segment(9),
        segment(1, log=other), segment(3, log=other), segment(9, log=other),
    )  # fmt: skip
    policy = RetentionPolicy(max_total_bytes=425, max_delete_fraction=1.0)
    decided = plan(facts, policy, NO_GATE, (), START + 10 * DAY)
    assert [action.reason for action in decided.actions] == [
        "size", "too_recent", "active", "size", "too_recent", "active",
    ]  # fmt: skip
    assert decided.over_bytes == 0
    assert "199 bytes above" in decided.actions[0].detail


def test_no_more_goes_than_has_to() -> None:
    facts = facts_of(segment(0, forms=ZST), segment(2), segment(9))
    sizes = [found.file.size_bytes for found in facts.segments[segment(0).file.name.log]]
    fits = sum(sizes)
    for limit, gone, over in (
        (fits, [], 0),
        (fits - 1, [0], 0),
        (fits - sizes[0], [0], 0),
        (fits - sizes[0] - 1, [0, 1], 0),
        (sizes[2], [0, 1], 0),
        (sizes[2] - 1, [0, 1], 1),
    ):
        policy = RetentionPolicy(max_total_bytes=limit, max_delete_fraction=1.0)
        decided = plan(facts, policy, NO_GATE, (), START + 10 * DAY)
        assert (for_size(decided), decided.over_bytes) == (gone, over), limit


def test_adopted_files_are_counted_and_go_in_their_turn() -> None:
    adopter = ForeignPolicy("*.ndjson", RetentionPolicy(), "not_required")
    old, new = (
        AdoptedFile(Path(f"{name}.ndjson.gz"), (".gz",), 1000, adopter, at, content=content_at(at))
        for name, at in (("old", START + DAY), ("new", START + 8 * DAY))
    )
    facts = replace(facts_of(segment(0, forms=ZST), segment(2), segment(9)), adopted=(old, new))
    policy = RetentionPolicy(max_total_bytes=1300, max_delete_fraction=1.0)
    decided = plan(facts, policy, NO_GATE, (), START + 10 * DAY)
    assert [f"{action.name[:3]} {action.reason}" for action in decided.actions] == [
        "que size", "que too_recent", "que active", "old size", "new newest",
    ]  # fmt: skip
    assert decided.over_bytes == 0


def test_it_says_by_how_much_it_cannot_be_reached() -> None:
    facts = facts_of(segment(0), segment(1), segment(2))
    hold = Hold("x", "legal", "audit", "*", START, START + DAY / 2)
    gate = gate_of(cursor_at(facts.segments[segment(0).file.name.log][0], 10))
    policy = RetentionPolicy(max_total_bytes=1)
    decided = plan(facts, policy, gate, [hold], START + 3 * DAY)
    assert [action.action for action in decided.actions] == ["keep"] * 3
    assert decided.over_bytes == 100 + 101 + 102 - 1
    assert decided.to_json(dry_run=True)["over_bytes"] == decided.over_bytes


def test_what_is_compressed_first_is_not_deleted_in_the_same_run() -> None:
    facts = facts_of(segment(0), segment(1), segment(40))
    decided = plan(facts, RetentionPolicy(max_total_bytes=1), NO_GATE, (), START + 41 * DAY)
    assert [action.action for action in decided.actions] == ["compress", "compress", "keep"]


def test_nothing_younger_is_deleted_before_what_the_same_run_compresses() -> None:
    facts = facts_of(segment(0), segment(30), segment(40))
    policy = RetentionPolicy(max_total_bytes=1)
    decided = plan(facts, policy, NO_GATE, (), START + 41 * DAY)
    assert [action.action for action in decided.actions] == ["compress", "keep", "keep"]


def test_what_must_be_kept_is_passed_over_for_what_is_younger() -> None:
    facts = facts_of(segment(0), segment(2), segment(9))
    hold = Hold("x", "legal", "audit", "*", START, START + DAY / 2)
    policy = RetentionPolicy(max_total_bytes=210, max_delete_fraction=1.0)
    decided = plan(facts, policy, NO_GATE, [hold], START + 10 * DAY)
    assert [action.action for action in decided.actions] == ["keep", "delete", "keep"]
