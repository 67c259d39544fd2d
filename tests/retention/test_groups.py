"""The facts of a group, by way of the plan."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from retention.groups import SubjectGroup, index_group, log_group, pattern_group
from retention.plan import plan
from retention.policy import ForeignPolicy, IndexPolicy
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


def group_of(*segments: Segment, gate: SinkCursors = NO_GATE) -> SubjectGroup:
    return log_group(LOG, segments, policy=POLICY, cursors=gate, holds=(), now=START)


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


def test_fits_where_segments_were_not_read() -> None:
    """An unread segment says nothing about the cursor that is in it."""
    unread = segment(0, damage="it was not read")
    cursor = cursor_at(segment(1), 20)
    (_, known), *_ = group_of(unread, segment(1), gate=gate_of(cursor)).cursors
    assert not known.problem


def test_neighbours_with_a_gap_of_one_record_are_sound_and_an_overlap_of_one_is_not() -> None:
    first, behind_gap, overlapping = segment(0), segment(1, first=12), segment(1, first=10)
    assert first.bounds is not None
    assert overlapping.bounds is not None
    bounds = replace(overlapping.bounds, first_prev_hash=first.bounds.last_hash)
    assert not group_of(first, behind_gap).misfits
    assert group_of(first, replace(overlapping, bounds=bounds)).misfits.keys() == {0, 1}


def test_a_log_that_no_witness_has_seen_is_witnessed_through_nothing() -> None:
    seen, unseen = (SinkCursors(witnessed={log: 7}) for log in (str(LOG), "other@hive1"))
    assert group_of(segment(0), gate=seen).witnessed_seq == 7
    assert group_of(segment(0), gate=unseen).witnessed_seq == 0
    assert group_of(segment(0)).witnessed_seq is None


def test_a_policy_says_whether_lines_are_counted_in_a_sink() -> None:
    counting = replace(POLICY, verify_before_delete="index")
    trusting = replace(POLICY, verify_before_delete="none")
    assert pattern_group(ForeignPolicy("*.log", counting), (), START).is_counted
    assert not pattern_group(ForeignPolicy("*.log", trusting), (), START).is_counted


def test_indices_are_judged_without_what_only_logs_have() -> None:
    group = index_group(IndexPolicy("main", ("http://a:9200",), "p", DAY, 0.5), (), START, None)
    assert group.keep_at_least == 1
    assert not group.is_counted
    assert not group.has_tombstones
    assert not group.misfits
