"""The rules for foreign files, all together."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from retention.groups import pattern_group
from retention.holds import Hold
from retention.plan import cases_of
from retention.policy import ForeignPolicy, RetentionPolicy
from retention.subjects import AdoptedFile, DirectoryFacts, SinkCursors, SourceProgress
from retention.verdict import RuleResult, Verdict, explain, is_removable, judge
from tests.support.foreign import DAY, NOW, content_at

RANK = {"keep": 0, "compress": 1, "delete": 2}


@st.composite
def adopted(draw: st.DrawFn) -> AdoptedFile:
    compress = draw(st.integers(1, 60))
    policy = RetentionPolicy(
        compress * DAY,
        (compress + draw(st.integers(1, 120))) * DAY,
        keep_at_least=draw(st.integers(1, 3)),
    )
    last_at = NOW - draw(st.integers(-5, 400)) * DAY
    content = content_at(
        last_at,
        untimed=draw(st.sampled_from([0, 0, 1])),
        matches=draw(st.sampled_from([frozenset(), frozenset({"actor"})])),
    )
    placing = st.builds(
        SourceProgress, st.just("main"), st.just("old"), st.sampled_from(["", "", "it has nothing"])
    )
    return AdoptedFile(
        Path("audit/a.ndjson"),
        draw(st.sampled_from([("",), (".gz",), ("", ".gz")])),
        100,
        ForeignPolicy("*.ndjson", policy, draw(st.sampled_from(["required", "not_required"]))),
        NOW - draw(st.integers(0, 400)) * DAY,
        open_for_writing=draw(st.sampled_from([False, False, True])),
        damage=draw(st.sampled_from(["", "", "", "torn"])),
        content=draw(st.sampled_from([content, content, None])),
        progress=tuple(draw(st.lists(placing, max_size=2))),
    )


holds = st.lists(
    st.sampled_from(
        [
            Hold("all", "legal", "audit", from_at=NOW - 100 * DAY, until_at=NOW - 50 * DAY),
            Hold("a", "legal", "audit", "a.*", expires_at=NOW + DAY),
            Hold("log", "legal", "audit", "queen-rbee@*"),
            Hold("actor", "legal", "audit", actor="alice"),
        ]
    ),
    max_size=2,
)
newer_than_it = st.integers(0, 4)


def held(file: AdoptedFile, hold: Hold, now: dt.datetime) -> bool:
    """Said anew, by the words of the hold."""
    assert file.content is not None
    first_at = None if file.content.untimed else file.content.first_at
    begins_before = hold.until_at is None or first_at is None or first_at < hold.until_at
    ends_after = hold.from_at is None or file.counted_from >= hold.from_at
    named = hold.logs in ("*", "a.*")
    matched = hold.actor is None or hold.id in file.content.matches
    lasts = hold.expires_at is None or now < hold.expires_at
    return named and matched and lasts and begins_before and ends_after


def judged(file: AdoptedFile, newer: int, held_by: list[Hold], now: dt.datetime = NOW) -> Verdict:
    return judge(file, newer, pattern_group(file.foreign, held_by, now))


def explained(file: AdoptedFile, newer: int, held_by: list[Hold]) -> tuple[RuleResult, ...]:
    return explain(file, newer, pattern_group(file.foreign, held_by, NOW))


@given(adopted(), newer_than_it, holds)
def test_gated(file: AdoptedFile, newer: int, given_holds: list[Hold]) -> None:
    verdict = judged(file, newer, given_holds, NOW)
    if verdict.action == "keep":
        return
    assert not any(placing.lacks for placing in file.progress)
    assert file.progress or file.foreign.shipped == "not_required"
    assert ("no source ships it" in verdict.detail) == (not file.progress)


@given(adopted(), newer_than_it, holds)
def test_kept(file: AdoptedFile, newer: int, given_holds: list[Hold]) -> None:
    verdict = judged(file, newer, given_holds, NOW)
    if verdict.action == "keep":
        return
    assert not file.damage
    assert newer
    assert not file.open_for_writing
    assert NOW - file.modified_at >= dt.timedelta(hours=1)
    assert not any(held(file, hold, NOW) for hold in given_holds)
    policy, age = file.foreign.policy, NOW - file.counted_from
    if verdict.action == "delete":
        assert age >= policy.delete_after
        assert newer >= policy.keep_at_least
    else:
        assert age >= policy.compress_after
        assert "" in file.forms


@given(adopted(), newer_than_it, holds, st.timedeltas(dt.timedelta(0), 200 * DAY))
def test_monotone(
    file: AdoptedFile, newer: int, given_holds: list[Hold], later: dt.timedelta
) -> None:
    lasting = [replace(hold, expires_at=None) for hold in given_holds]
    before, after = (judged(file, newer, lasting, at) for at in (NOW, NOW + later))
    assert RANK[before.action] <= RANK[after.action]


@given(adopted(), newer_than_it, holds)
@example(
    AdoptedFile(
        Path("audit/a.ndjson"),
        (".gz",),
        100,
        ForeignPolicy("*.ndjson", RetentionPolicy(DAY, 2 * DAY, keep_at_least=2), "not_required"),
        NOW - 6 * DAY,
        content=content_at(NOW - 6 * DAY),
    ),
    1,
    [],
)
def test_explained(file: AdoptedFile, newer: int, given_holds: list[Hold]) -> None:
    verdict = judged(file, newer, given_holds, NOW)
    found = explained(file, newer, given_holds)
    keeps = next((finding for finding in found if finding.keeps), None)
    if keeps is not None:
        assert verdict == Verdict("keep", keeps.rule, keeps.detail)
    else:
        assert found[-1].detail == f"{verdict.action}: {verdict.detail}"
        assert verdict.action != "keep"


@given(adopted(), newer_than_it, holds)
def test_counted(file: AdoptedFile, newer: int, given_holds: list[Hold]) -> None:
    policy = replace(file.foreign.policy, verify_before_delete="index")
    counted = replace(file, foreign=replace(file.foreign, policy=policy))
    without, verdict = (judged(each, newer, given_holds, NOW) for each in (file, counted))
    if without.action != "delete":
        assert verdict == without
    elif "" in file.forms:
        assert verdict.action == "compress"
    else:
        assert (verdict.action, verdict.reason) == ("keep", "not_in_index")


@given(adopted(), newer_than_it, holds)
def test_removable(file: AdoptedFile, newer: int, given_holds: list[Hold]) -> None:
    lasting = [replace(hold, expires_at=None) for hold in given_holds if hold.in_force(NOW)]
    aged = judged(file, newer, lasting, NOW + 9999 * DAY)
    removable = is_removable(file, newer, pattern_group(file.foreign, lasting, NOW))
    assert not removable or aged.action == "delete"


def test_a_damaged_file_is_nobodys_newest() -> None:
    policy = ForeignPolicy("*.ndjson", RetentionPolicy())
    sound = AdoptedFile(Path("a.ndjson"), ("",), 1, policy, NOW, content=content_at(NOW))
    other = replace(sound, foreign=replace(policy, pattern="*.log"))
    damaged = replace(sound, damage="torn")
    facts = DirectoryFacts(Path(), {}, adopted=(sound, sound, damaged, other, other))
    cases = cases_of(facts, RetentionPolicy(), SinkCursors(), [], NOW)
    assert [case.newer for case in cases] == [1, 0, 0, 1, 0]
