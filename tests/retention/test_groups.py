"""The facts of a group, by way of the plan."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from retention.plan import plan
from retention.subjects import DirectoryFacts, Segment, SinkCursor, SinkCursors
from tests.support.retention_facts import (
    DAY,
    LOG,
    NO_GATE,
    POLICY,
    START,
    Input,
    any_input,
    cursor_at,
    decide,
    facts_of,
    gate_of,
    segment,
    verdicts,
)


@given(any_input)
def test_per_log(given_input: Input) -> None:
    """The log's verdicts are those of a directory that holds it alone, under its own policy."""
    (facts, gate), policy, holds, now = given_input
    decided = decide(given_input)
    for log, segments in facts.segments.items():
        alone = plan(
            DirectoryFacts(facts.directory, {log: segments}), policy.of(str(log)), gate, holds, now
        )
        ours = [action for action in decided.actions if action.subject.log == str(log)]
        assert ours == list(alone.actions)


@pytest.mark.parametrize("second", [segment(1, first=9), segment(1, log=LOG, first=11)])
def test_neighbours_that_do_not_meet_stay_both(second: Segment) -> None:
    assert second.bounds is not None
    second = replace(second, bounds=replace(second.bounds, first_prev_hash="e" * 64))
    decided = plan(facts_of(segment(0), second, segment(2)), POLICY, NO_GATE, (), START + 999 * DAY)
    assert verdicts(decided)[:2] == ["keep damaged", "keep damaged"]


def test_a_gap_that_an_earlier_deletion_left_is_no_damage() -> None:
    facts = facts_of(segment(0), segment(5), segment(6))
    decided = plan(facts, POLICY, NO_GATE, (), START + 999 * DAY)
    assert verdicts(decided) == ["delete age", "delete age", "keep active"]


def test_neighbours_are_compared_behind_a_segment_that_was_not_read_too() -> None:
    third = segment(2)
    assert third.bounds is not None
    third = replace(third, bounds=replace(third.bounds, first_prev_hash="e" * 64))
    facts = facts_of(segment(0, damage="torn"), segment(1), third, segment(3))
    decided = plan(facts, POLICY, NO_GATE, (), START + 999 * DAY)
    assert verdicts(decided) == [*["keep damaged"] * 3, "keep active"]
    assert "does not fit the beginning of the next" in decided.actions[1].detail
    assert "does not fit the end of the segment before" in decided.actions[2].detail


@pytest.mark.parametrize(
    ("digest", "verdict"), [(None, "delete age"), ("f" * 64, "keep not_shipped")]
)
@pytest.mark.parametrize("seq", [10, 20, 30])
def test_fits(seq: int, digest: str | None, verdict: str) -> None:
    """A cursor is held against the hashes at both ends of a segment.

    Also where the segment that it names is gone already: the next one names its last hash.
    """
    facts = facts_of(segment(1), segment(2))
    cursor = cursor_at(segment(seq // 10 - 1), seq, digest=digest)
    decided = plan(facts, POLICY, gate_of(cursor), (), START + 999 * DAY)
    assert verdicts(decided)[0] == (verdict if seq > 10 else "keep not_shipped")
    assert ("is not this log's" in decided.actions[0].detail) == (digest is not None)


@pytest.mark.parametrize(
    "known",
    [
        SinkCursor(),
        SinkCursor(problem="has a damaged cursor"),
        SinkCursor(cursor_at(segment(2), 29), "has a cursor at a record that is not here"),
        SinkCursor(cursor_at(segment(2), 30, digest="f" * 64)),  # another log's hash at our seq
        SinkCursor(cursor_at(segment(1), 20, digest="f" * 64)),
        SinkCursor(cursor_at(segment(2), 31)),  # beyond the head: the log was begun anew
        SinkCursor(replace(cursor_at(segment(2), 29), log="rbee-hive@hive1")),
        SinkCursor(replace(cursor_at(segment(2), 29), segment="../passwd")),
    ],
)
def test_fits_no_cursor_that_is_missing_unreadable_or_of_another_log(known: SinkCursor) -> None:
    facts = facts_of(segment(0), segment(1), segment(2))
    gate = SinkCursors(("main",), {("main", LOG): known})
    decided = plan(facts, POLICY, gate, (), START + 999 * DAY)
    assert verdicts(decided) == ["keep not_shipped", "keep not_shipped", "keep active"]
