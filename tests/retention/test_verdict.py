"""How the rules and the age of a subject make its verdict, by way of the plan."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.segment_names import LogId
from retention.holds import Hold
from retention.plan import cases_of, plan
from retention.policy import RetentionPolicy
from retention.subjects import DirectoryFacts, Segment, SinkCursor, SinkCursors
from retention.verdict import explain, first_keeping, is_removable
from tests.support.retention_facts import (
    DAY,
    NO_GATE,
    POLICY,
    START,
    Input,
    any_input,
    decide,
    facts_of,
    gate_of,
    segment,
    verdicts,
)

FORMS_ZST = (".zst",)


@given(any_input, st.timedeltas(dt.timedelta(0), 200 * DAY))
def test_monotone(given_input: Input, later: dt.timedelta) -> None:
    (facts, gate), policy, holds, now = given_input
    lasting = [replace(hold, expires_at=None) for hold in holds]
    given_input = ((facts, gate), policy, lasting, now)
    before, after = decide(given_input), decide(given_input, later=later)
    rank = {"keep": 0, "compress": 1, "delete": 2}
    for one, other in zip(before.actions, after.actions, strict=True):
        assert rank[one.action] <= rank[other.action]


@given(any_input)
def test_frugal(given_input: Input) -> None:
    (facts, gate), policy, holds, now = given_input
    unread: dict[LogId, tuple[Segment, ...]] = {}
    sound: dict[LogId, tuple[Segment, ...]] = {}
    for log, segments in facts.segments.items():
        whole = tuple(found for found in segments if not found.damage)
        if not whole:
            continue
        unread_log = {log: tuple(Segment(found.file) for found in whole)}
        facts_of_names = DirectoryFacts(facts.directory, unread_log)
        cases = cases_of(facts_of_names, policy, gate, holds, now)
        findings = [first_keeping(*case) for case in cases]
        opened = [found is not None and found.needs == "reading" for found in findings]
        opened[-1] = True
        sound[log] = whole
        unread[log] = tuple(
            found if read else Segment(found.file)
            for found, read in zip(whole, opened, strict=True)
        )
    believed = SinkCursors(
        gate.sinks,
        {key: known for key, known in gate.cursors.items() if _fits(known, sound.get(key[1], ()))},
    )
    read = plan(DirectoryFacts(facts.directory, sound), policy, believed, holds, now)
    names = plan(DirectoryFacts(facts.directory, unread), policy, believed, holds, now)
    assert verdicts(read) == verdicts(names)


def _fits(known: SinkCursor, segments: tuple[Segment, ...]) -> bool:
    cursor = known.cursor
    return cursor is not None and any(
        found.file.name.logical == cursor.segment and cursor.hash != "f" * 64 for found in segments
    )


@given(any_input)
def test_explained(given_input: Input) -> None:
    (facts, _), *_ = given_input
    actions = iter(decide(given_input).actions)
    for segments in facts.segments.values():
        for index in range(len(segments)):
            action = next(actions)
            assert action.subject is segments[index]
            findings = explain(*action.case)
            keeping = [finding.rule for finding in findings if finding.keeps]
            assert (keeping[0] if keeping else "age") == action.reason
            assert all(finding.detail for finding in findings)
            assert len(findings) >= 2


@pytest.mark.parametrize("reason", ["held", "not_shipped"])
def test_explained_where_the_name_decides_before_the_last_record(reason: str) -> None:
    """Its day is old enough, and its last record is not; what keeps it is known by its name."""
    facts = facts_of(segment(0, last_at=START + 23 * DAY / 24), segment(1))
    gate = gate_of(None) if reason == "not_shipped" else NO_GATE
    holds = [Hold("x", "legal", "audit")] if reason == "held" else []
    now = START + 30.5 * DAY
    action, _ = plan(facts, POLICY, gate, holds, now).actions
    found = explain(*action.case)
    assert [finding.rule for finding in found if finding.keeps] == [reason, "too_recent"]
    assert action.reason == reason


def test_the_newest_few_are_compressed_but_not_deleted() -> None:
    policy = RetentionPolicy(keep_at_least=3, max_delete_fraction=1.0)
    facts = facts_of(segment(0), segment(1, forms=FORMS_ZST), segment(2), segment(3))
    decided = plan(facts, policy, NO_GATE, (), START + 999 * DAY)
    assert verdicts(decided) == ["delete age", "keep newest", "compress age", "keep active"]


def test_the_proofs_of_deletions_are_not_deleted() -> None:
    own = LogId("retention", "hive1")
    facts = facts_of(segment(0, log=own, forms=FORMS_ZST), segment(1, log=own), segment(2, log=own))
    decided = plan(facts, POLICY, NO_GATE, (), START + 999 * DAY)
    assert verdicts(decided) == ["keep proof", "compress age", "keep active"]


def test_explained_by_every_rule_where_a_reason_is_there_twice() -> None:
    """It is too recent by its day, and by its last record as well."""
    action, _ = plan(facts_of(segment(0), segment(1)), POLICY, NO_GATE, (), START + DAY).actions
    found = explain(*action.case)
    assert {finding.rule for finding in found} >= {"too_recent", "not_shipped", "held"}


def test_explained_as_far_as_the_name_goes_where_it_was_not_read() -> None:
    unread = Segment(segment(0).file)
    action, _ = plan(facts_of(unread, segment(1)), POLICY, NO_GATE, (), START + 99 * DAY).actions
    found = explain(*action.case)
    assert found[-1].rule == "damaged"
    assert found[-1].needs == "reading"
    assert [finding.rule for finding in found if finding.keeps] == ["damaged"]


def test_what_is_only_too_recent_is_removable() -> None:
    facts = facts_of(segment(0, forms=FORMS_ZST), segment(1, forms=FORMS_ZST), segment(2))
    young, held, newest = cases_of(
        facts, POLICY, NO_GATE, [Hold("x", "legal", "audit", "queen-rbee@*", START + DAY)], START
    )
    assert is_removable(*young)
    assert not is_removable(*held)
    assert not is_removable(*newest)
