"""The circuit breaker."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.breaker import LastIndexRun, LastRun, harsher, harsher_indices, jumped
from retention.plan import DirectoryPlan, plan
from retention.policy import ForeignPolicy, IndexPolicy, RetentionPolicy
from retention.subjects import AdoptedFile, DirectoryFacts, SinkCursors
from tests.support.foreign import content_at
from tests.support.retention_facts import DAY, START, facts_of, segment

POLICY = RetentionPolicy()
NOW = START + 95 * DAY
MINUTE = dt.timedelta(minutes=1)
INSTANT = dt.timedelta(microseconds=1)
LAST = LastRun(NOW - DAY, POLICY, (), DAY)
NOT_MUCH = facts_of(*(segment(day) for day in (0, 50, 60, 94)))


def kinds(decided: DirectoryPlan) -> list[str]:
    return [refusal.kind for refusal in decided.refusals]


def decide(
    last_run: LastRun | None = LAST,
    *,
    now: dt.datetime = NOW,
    policy: RetentionPolicy = POLICY,
    simulated: bool = False,
) -> list[str]:
    return kinds(
        plan(NOT_MUCH, policy, SinkCursors(), (), now, last_run=last_run, simulated=simulated)
    )


@given(count=st.integers(0, 12), fraction=st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0]))
def test_too_many(count: int, fraction: float) -> None:
    old = [segment(day) for day in range(count)]
    young = [segment(300), segment(301)]
    policy = RetentionPolicy(max_delete_fraction=fraction)
    decided = plan(facts_of(*old, *young), policy, SinkCursors(), (), START + 302 * DAY)
    assert len(decided.only("delete")) == count
    assert bool(decided.refusals) == (count > fraction * (count + 2))


def test_each_log_is_counted_by_itself() -> None:
    other = replace(segment(0).file.name.log, service="rbee-hive")
    facts = facts_of(
        *(segment(day) for day in range(280, 300)), *(segment(d, log=other) for d in (0, 1, 300))
    )
    decided = plan(facts, POLICY, SinkCursors(), (), START + 301 * DAY)
    assert kinds(decided) == ["too_many_deletes"]
    assert "2 of the 3 segments of rbee-hive@hive1" in decided.refusals[0].detail


@pytest.mark.parametrize(
    ("back", "expected"), [(5 * MINUTE, []), (5 * MINUTE + INSTANT, ["clock_backwards"])]
)
def test_backwards(back: dt.timedelta, expected: list[str]) -> None:
    newest = START + 94 * DAY + DAY / 2
    assert decide(None, now=newest - back) == expected
    assert decide(replace(LAST, at=NOW + back)) == expected


@pytest.mark.parametrize(
    ("gap", "elapsed", "expected"),
    [
        (DAY, DAY, []),
        (300 * DAY, 300 * DAY, []),  # the host was up or suspended all the time
        (2 * DAY, DAY, []),  # a day is allowed
        (2 * DAY + INSTANT, DAY, ["clock_forwards"]),
        (45 * DAY, None, []),  # restarted since: a long downtime, up to half of delete_after
        (45 * DAY + INSTANT, None, ["clock_forwards"]),
    ],
)
def test_forwards(gap: dt.timedelta, elapsed: dt.timedelta | None, expected: list[str]) -> None:
    assert decide(LastRun(NOW - gap, POLICY, (), elapsed)) == expected


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (replace(LAST, policy=RetentionPolicy(delete_after=91 * DAY)), ["harsher_policy"]),
        (replace(LAST, policy=RetentionPolicy(keep_at_least=2)), ["harsher_policy"]),
        (replace(LAST, policy=RetentionPolicy(max_delete_fraction=0.4)), ["harsher_policy"]),
        (replace(LAST, policy=RetentionPolicy(delete_after=89 * DAY)), []),
        (replace(LAST, sinks=("main",)), ["sink_removed"]),
    ],
)
def test_less_protection(before: LastRun, expected: list[str]) -> None:
    assert decide(before) == expected
    nothing_to_delete = RetentionPolicy(delete_after=300 * DAY, max_delete_fraction=0.4)
    assert decide(before, policy=nothing_to_delete) == []


def test_per_log() -> None:
    longer = RetentionPolicy(delete_after=200 * DAY)
    before = replace(LAST, policy=RetentionPolicy(overrides=(("queen-*", longer),)))
    assert decide(before) == ["harsher_policy"]
    assert decide(replace(before, policy=RetentionPolicy(overrides=(("rbee-*", longer),)))) == []
    narrow = RetentionPolicy(overrides=(("queen-*", RetentionPolicy(max_delete_fraction=0.1)),))
    assert decide(policy=narrow) == ["too_many_deletes"]


@pytest.mark.parametrize(
    ("before", "policy"),
    [
        (RetentionPolicy(verify_before_delete="index"), POLICY),
        (POLICY, RetentionPolicy(verify_before_delete="none")),
        (POLICY, RetentionPolicy(max_total_bytes=1 << 20)),
        (RetentionPolicy(max_total_bytes=2 << 20), RetentionPolicy(max_total_bytes=1 << 20)),
    ],
)
def test_less_protection_in_other_ways(before: RetentionPolicy, policy: RetentionPolicy) -> None:
    assert decide(replace(LAST, policy=before), policy=policy) == ["harsher_policy"]
    assert decide(replace(LAST, policy=policy), policy=before) == []


def test_the_same_protection_is_not_less() -> None:
    same = RetentionPolicy(max_total_bytes=1 << 20, verify_before_delete="index")
    assert list(harsher(["a@b"], same, same)) == []
    last = LastIndexRun(NOW, 90 * DAY, "x", 0.5)
    policy = IndexPolicy("main", ("http://a",), "x", 90 * DAY)
    assert list(harsher_indices(policy, last)) == []
    larger = replace(policy, max_delete_fraction=0.6)
    assert list(harsher_indices(larger, None)) == []
    (refusal,) = harsher_indices(larger, last)
    assert "from 0.5 to 0.6" in refusal.detail


def test_a_refusal_names_what_changed_and_for_which_logs() -> None:
    logs, before = ["a@b", "c@d"], RetentionPolicy(keep_at_least=2)
    (refusal,) = harsher(logs, replace(POLICY, max_total_bytes=7), before)
    assert refusal.to_json() == {"kind": "harsher_policy", "detail": refusal.detail}
    assert refusal.detail == (
        "since the last run keep_at_least went from 2 to 1, "
        "max_total_bytes went from unlimited to 7, and segments would be deleted"
    )
    overriding = RetentionPolicy(overrides=(("c@*", RetentionPolicy(max_delete_fraction=0.6)),))
    (refusal,) = harsher(logs, overriding, POLICY)
    assert "max_delete_fraction went from 0.5 to 0.6 for c@d, and" in refusal.detail
    (refusal,) = harsher(
        logs, replace(POLICY, max_total_bytes=7), replace(before, max_total_bytes=8)
    )
    assert "max_total_bytes went from 8 bytes to 7" in refusal.detail


def test_a_jump_is_told_in_days() -> None:
    (refusal,) = jumped(
        NOW, LastRun(NOW - 3 * DAY, POLICY, (), DAY), newest=None, delete_after=90 * DAY
    )
    assert "by the clock 3.0 d passed since the last run, by the host's uptime 1.0 d" in (
        refusal.detail
    )


def test_an_index_run_may_delete_half_unless_its_record_says_otherwise() -> None:
    assert LastIndexRun(NOW, 90 * DAY, "x").max_delete_fraction == 0.5


def test_less_protection_than_the_cursors_of_a_first_run_tell_of() -> None:
    gate = SinkCursors(others=("old",))
    decided = plan(NOT_MUCH, POLICY, gate, (), NOW)
    assert kinds(decided) == ["sink_removed"]
    assert decided.refusals[0].detail.startswith("old once received records")
    waited = replace(LAST, sinks=("old",))
    decided = plan(NOT_MUCH, POLICY, SinkCursors(), (), NOW, last_run=waited)
    assert decided.refusals[0].detail.startswith("the last run waited for old")
    assert kinds(plan(NOT_MUCH, POLICY, gate, (), NOW, last_run=LAST)) == []  # it was confirmed


@given(offset=st.timedeltas(-1000 * DAY, 80 * DAY))
def test_simulated(offset: dt.timedelta) -> None:
    assert decide(now=NOW + offset, simulated=True) in ([], ["too_many_deletes"])


def adopting(count: int, policy: RetentionPolicy) -> DirectoryFacts:
    (foreign,) = policy.foreign
    files = [
        AdoptedFile(
            Path(f"{n}.ndjson"),
            ("",),
            1,
            foreign,
            NOW - 100 * DAY,
            content=content_at(NOW - (2 if n == count - 1 else 100) * DAY),
        )
        for n in range(count)
    ]
    return DirectoryFacts(Path("audit"), {}, adopted=tuple(files))


def test_foreign() -> None:
    foreign = ForeignPolicy("*.ndjson", RetentionPolicy(), "not_required", sources=(("a", ()),))
    policy = RetentionPolicy(
        foreign=(replace(foreign, policy=RetentionPolicy(max_delete_fraction=0.8)),)
    )
    facts = adopting(5, policy)

    def found(
        before: RetentionPolicy | None, now: RetentionPolicy = policy, facts: DirectoryFacts = facts
    ) -> list[str]:
        last = None if before is None else LastRun(NOW - DAY, before, (), DAY)
        return kinds(plan(facts, now, SinkCursors(), (), NOW, last_run=last))

    assert found(None) == found(policy) == []
    assert found(RetentionPolicy()) == ["harsher_policy"]
    narrow = RetentionPolicy(foreign=(foreign,))
    assert found(None, narrow, adopting(5, narrow)) == ["too_many_deletes"]
    (known,) = policy.foreign
    for milder in (
        {"shipped": "required"},
        {"sources": (("a", ()), ("b", ()))},
        {"policy": replace(known.policy, delete_after=95 * DAY)},
        {"policy": replace(known.policy, keep_at_least=2)},
    ):
        before = replace(policy, foreign=(replace(known, **milder),))  # type: ignore[arg-type]  # by name
        assert found(before) == ["harsher_policy"]
