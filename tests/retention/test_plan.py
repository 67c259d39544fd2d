"""The plan as a whole, and what others see of it."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings

from retention.plan import Action, DirectoryPlan, Refused, plan
from retention.policy import RetentionPolicy
from retention.subjects import ForeignFile
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
)


def touched(decided: DirectoryPlan) -> list[Action]:
    return [action for action in decided.actions if action.action != "keep"]


@given(any_input)
def test_partition(given_input: Input) -> None:
    (facts, _), *_ = given_input
    decided = decide(given_input)
    listed = [found.file.name.logical for found in sum(facts.segments.values(), ())]
    listed += [file.path.name for file in facts.adopted]
    listed += [file.path.name for file in facts.foreign]
    assert [action.name for action in decided.actions] == listed
    assert {action.action for action in decided.actions} <= {"keep", "compress", "delete"}
    assert len(decided.only("keep")) + len(touched(decided)) == len(listed)
    assert all(action.reason and action.detail for action in decided.actions)
    totals = decided.to_json(dry_run=True)["totals"]
    assert totals["keep"] + totals["compress"] + totals["delete"] == len(listed)


def test_the_json_is_the_documented_object() -> None:
    facts = facts_of(
        segment(0), segment(70), segment(100), foreign=(ForeignFile(Path("audit/x.log"), 7),)
    )
    now = START + 101 * DAY
    decided = plan(facts, POLICY, gate_of(cursor_at(facts.segments[LOG][1], 710)), (), now)
    printed = json.loads(json.dumps(decided.to_json(dry_run=True)))
    assert printed["schema"] == "auditctl.prune/1"
    assert printed["at"] == "2026-11-10T00:00:00.000000Z"
    assert printed["dry_run"] is True
    assert decided.to_json(dry_run=False)["dry_run"] is False
    assert (printed["refusals"], printed["over_bytes"], decided.simulated) == ([], 0, False)
    assert printed["policy"]["delete_after"] == "90d"
    assert printed["totals"] == {"keep": 2, "compress": 1, "delete": 1, "freed_bytes": 100}
    assert [action["action"] for action in printed["actions"]] == [
        "delete",
        "compress",
        "keep",
        "keep",
    ]
    first, foreign = printed["actions"][0], printed["actions"][-1]
    assert first == {
        "log": "queen-rbee@hive1",
        "segment": "queen-rbee@hive1.2026-08-01.0001.ndjson",
        "action": "delete",
        "reason": "age",
        "detail": "last record 100 d ago, deleted after 90d",
        "bytes": 100,
        "records": 10,
        "last_record_at": "2026-08-01T12:00:00.000000Z",
        "done": False,
    }
    assert (foreign["log"], foreign["records"], foreign["segment"]) == (None, None, "x.log")


@settings(max_examples=20)
@given(any_input)
def test_same(given_input: Input) -> None:
    assert decide(given_input) == decide(given_input)


def test_a_refused_plan_is_told_with_what_the_breaker_says() -> None:
    facts = facts_of(*(segment(day) for day in (0, 1, 94)))
    decided = plan(facts, RetentionPolicy(), NO_GATE, (), START + 95 * DAY)
    refused = Refused(decided)
    assert refused.plan is decided
    assert refused.reason == (
        "2 of the 3 segments of queen-rbee@hive1 would be deleted at once, "
        "more than the allowed 50%"
    )
