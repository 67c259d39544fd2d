"""The days on which a policy compresses and deletes next."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from hypothesis import given

from retention.plan import DirectoryPlan, plan
from retention.policy import RetentionPolicy
from retention.subjects import SinkCursors
from retention.timeline import Due, timeline
from tests.support.retention_facts import DAY, START, Input, any_input, facts_of, segment

ZST = (".zst",)


@given(any_input)
def test_foreseen(given_input: Input) -> None:
    (facts, gate), policy, _, now = given_input
    decided = plan(facts, policy, gate, (), now)
    dues = timeline(decided)
    for due in dues:
        evening = dt.datetime.combine(due.day, dt.time.max, dt.UTC)
        if evening <= now:  # it is due already; another rule kept it
            continue
        later = plan(facts, policy, SinkCursors(), (), evening)
        gone = _count(later, "delete") - _count(decided, "delete")
        assert gone >= sum(d.delete for d in dues if d.day <= due.day) - _kept(later)


def _count(decided: DirectoryPlan, verb: str) -> int:
    return len(decided.only(verb))  # type: ignore[arg-type]  # one of the verbs


def _kept(decided: DirectoryPlan) -> int:
    return sum(action.reason in ("damaged", "newest") for action in decided.actions)


@given(any_input)
def test_once(given_input: Input) -> None:
    (facts, gate), policy, holds, now = given_input
    decided = plan(facts, policy, gate, holds, now)
    dues = timeline(decided)
    assert sum(due.compress for due in dues) <= len(decided.only("keep"))
    assert sum(due.delete for due in dues) <= len(decided.actions) - len(decided.only("delete"))
    assert [due.day for due in dues] == sorted({due.day for due in dues})


def test_each_day_has_what_becomes_due_on_it() -> None:
    facts = facts_of(
        segment(0, forms=ZST), segment(20), segment(20, part=2, first=211), segment(50), segment(60)
    )
    decided = plan(facts, RetentionPolicy(), SinkCursors(), (), START + 51 * DAY)
    assert [action.action for action in decided.actions] == [
        "keep", "compress", "compress", "keep", "keep",
    ]  # fmt: skip
    day = START.date()
    assert timeline(decided) == (
        Due(day + 80 * DAY, 1, 0, 0),
        Due(day + 90 * DAY, 0, 1, 100),
        Due(day + 110 * DAY, 0, 2, 240),
        Due(day + 140 * DAY, 0, 1, 150),
    )


def test_what_is_never_deleted_is_not_announced() -> None:
    own = replace(segment(0).file.name.log, service="retention")
    facts = facts_of(segment(0, log=own, forms=ZST), segment(1, log=own))
    assert timeline(plan(facts, RetentionPolicy(), SinkCursors(), (), START + 40 * DAY)) == ()
    least = RetentionPolicy(keep_at_least=2)
    facts = facts_of(segment(0, forms=ZST), segment(1))
    assert timeline(plan(facts, least, SinkCursors(), (), START + 40 * DAY)) == ()


def test_nothing_is_due_on_a_day_of_which_nothing_is_said() -> None:
    assert Due(START.date()) == Due(START.date(), 0, 0, 0)
