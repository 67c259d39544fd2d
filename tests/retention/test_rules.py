"""The rules, one by one and all together, by way of the plan."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.archived import ArchivedSpan
from auditlog.format.segment_names import LogId
from auditlog.reading.reader import Bounds
from retention.groups import SubjectGroup, index_group, log_group, pattern_group
from retention.holds import Hold
from retention.plan import Action, DirectoryPlan, plan
from retention.policy import ForeignPolicy, IndexPolicy
from retention.rules import holds_to_search
from retention.subjects import (
    AdoptedFile,
    ForeignFile,
    Index,
    Segment,
    SinkCursor,
    SinkCursors,
    SourceProgress,
    Subject,
)
from retention.verdict import Verdict, explain, first_keeping, is_removable, judge
from tests.support.foreign import content_at
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

FORMS_ZST = (".zst",)


def touched(decided: DirectoryPlan) -> list[Action]:
    """The segments that do not stay as they are."""
    return [a for a in decided.actions if a.action != "keep" and isinstance(a.subject, Segment)]


def ends_of(action: Action) -> Bounds:
    assert isinstance(action.subject, Segment)
    assert action.subject.bounds is not None
    return action.subject.bounds


# The invariants of the module's header ------------------------------------------------------


@given(any_input)
def test_shipped(given_input: Input) -> None:
    (_, gate), *_ = given_input
    for action in touched(decide(given_input)):
        bounds = ends_of(action)
        for sink in gate.sinks:
            known = gate.cursor(sink, LogId.parse(action.subject.log))
            assert known.cursor is not None
            assert not known.problem
            assert known.cursor.seq >= bounds.last_seq
            for first, last in known.cursor.gaps:
                assert last < bounds.first_seq or bounds.last_seq < first
            assert known.cursor.hash != "f" * 64 or known.cursor.seq != bounds.last_seq


@given(bounds=st.tuples(st.integers(1, 60), st.integers(1, 60)), place=st.integers(0, 2))
def test_verified(bounds: tuple[int, int], place: int) -> None:
    """verified: of shipped segments past every age, all but the doubtful and the newest go"""
    first, last = sorted(bounds)
    segments = [segment(day, forms=FORMS_ZST) for day in range(5)]
    certain = cursor_at(segments[-1], 50)
    doubts = [(100, 200), (300, 400)]
    doubts.insert(place, (first, last))
    gate = gate_of(replace(certain, unverified=tuple(doubts)))
    decided = plan(facts_of(*segments), POLICY, gate, [], START + 400 * DAY)
    expected = [
        "keep not_verified" if first <= 10 * n + 10 and 10 * n + 1 <= last else "delete age"
        for n in range(4)
    ]
    assert verdicts(decided)[:4] == expected


@given(any_input)
def test_held(given_input: Input) -> None:
    (facts, _), _, holds, now = given_input
    matches = {
        found.file.name.logical: found.matches
        for found in itertools.chain.from_iterable(facts.segments.values())
    }
    for action in touched(decide(given_input)):
        bounds = ends_of(action)
        for hold in holds:
            free = matches[action.name] is not None and hold.id not in matches[action.name]
            assert (
                not hold.in_force(now)
                or not hold.covers(action.subject.log, bounds.first_at, bounds.last_at)
                or (hold.reads_records and free)
            )


@given(any_input)
def test_newest(given_input: Input) -> None:
    (facts, _), policy, *_ = given_input
    decided = decide(given_input)
    gone = {action.name for action in decided.only("delete")}
    for log, segments in facts.segments.items():
        names = [found.file.name.logical for found in segments]
        assert names[-1] not in {action.name for action in touched(decided)}
        assert not gone & set(names[-policy.of(str(log)).keep_at_least :])


# The reasons, one by one --------------------------------------------------------------------


@pytest.mark.parametrize(("forms", "reason"), [(("",), "active"), (FORMS_ZST, "newest")])
def test_the_newest_segment_stays_for_ever(forms: tuple[str, ...], reason: str) -> None:
    decided = plan(facts_of(segment(0, forms=forms)), POLICY, NO_GATE, (), START + 9999 * DAY)
    assert verdicts(decided) == [f"keep {reason}"]


@pytest.mark.parametrize(
    ("archived", "at_rest", "days", "verdict"),
    [
        (None, True, 30, "keep active"),
        ({}, False, 30, "keep active"),
        ({}, True, 29, "keep too_recent"),
        ({}, True, 30, "compress age"),
        ({}, True, 9999, "compress age"),
    ],
)
def test_the_newest_is_compressed_where_an_archive_waits_and_no_writer_has_it_open(
    archived: dict[str, Any] | None, at_rest: bool, days: int, verdict: str
) -> None:
    newest = replace(segment(0, last_at=START), at_rest=at_rest)
    gate = replace(NO_GATE, archived=archived)
    decided = plan(facts_of(newest), POLICY, gate, (), START + days * DAY)
    assert verdicts(decided) == [verdict]


def test_what_is_not_shipped_is_neither_compressed_nor_deleted() -> None:
    facts = facts_of(segment(0), segment(1), segment(2), segment(3))
    middle = facts.segments[LOG][1]
    decided = plan(facts, POLICY, gate_of(cursor_at(middle, 19)), (), START + 999 * DAY)
    assert verdicts(decided) == [
        "delete age",
        "keep not_shipped",
        "keep not_shipped",
        "keep active",
    ]
    decided = plan(facts, POLICY, gate_of(cursor_at(middle, 20)), (), START + 999 * DAY)
    assert verdicts(decided)[1] == "delete age"


def test_what_a_sink_had_already_and_would_not_show_is_compressed_and_not_deleted() -> None:
    facts = facts_of(
        segment(0, forms=FORMS_ZST), segment(1, forms=FORMS_ZST), segment(2), segment(3)
    )
    _, second, third, last = (each.bounds for each in facts.segments[LOG])
    assert second is not None
    assert third is not None
    assert last is not None
    cursor = cursor_at(facts.segments[LOG][3], last.last_seq)
    end, begin = second.last_seq, third.first_seq
    for doubtful, expected in (
        ((), ["delete age", "delete age", "delete age"]),
        (((end, end),), ["delete age", "keep not_verified", "delete age"]),
        (((1, 1), (begin, begin)), ["keep not_verified", "delete age", "compress age"]),
    ):
        gate = gate_of(replace(cursor, unverified=doubtful))
        decided = plan(facts, POLICY, gate, (), START + 999 * DAY)
        assert verdicts(decided) == [*expected, "keep active"]
    assert "sink main had record 1 already" in decided.actions[0].detail


def test_what_no_quorum_has_witnessed_is_compressed_and_not_deleted() -> None:
    facts = facts_of(
        segment(0, forms=FORMS_ZST), segment(1, forms=FORMS_ZST), segment(2), segment(3)
    )
    first, second = (each.bounds.last_seq for each in facts.segments[LOG][:2] if each.bounds)
    for through, expected in (
        (0, ["keep not_witnessed", "keep not_witnessed"]),
        (first, ["delete age", "keep not_witnessed"]),
        (second - 1, ["delete age", "keep not_witnessed"]),
        (second, ["delete age", "delete age"]),
    ):
        gate = SinkCursors(witnessed={str(LOG): through})
        decided = plan(facts, POLICY, gate, (), START + 999 * DAY)
        assert verdicts(decided) == [*expected, "compress age", "keep active"]
    unknown = plan(facts, POLICY, SinkCursors(witnessed={}), (), START + 999 * DAY)
    assert verdicts(unknown)[0] == "keep not_witnessed", "a log that was never signed"
    assert "through seq 0" in unknown.actions[0].detail


def test_archived() -> None:
    facts = facts_of(
        segment(0, forms=FORMS_ZST), segment(1, forms=FORMS_ZST), segment(2), segment(3)
    )
    has = {
        each.name: ArchivedSpan(each.bounds.first_seq, each.bounds.last_seq, each.bounds.last_hash)
        for each in facts.segments[LOG]
        if each.bounds
    }
    first, second, *_ = has
    for archived, expected in (
        ({}, ["keep not_archived", "keep not_archived"]),
        ({first: has[first]}, ["delete age", "keep not_archived"]),
        ({first: has[first], second: has[first]}, ["delete age", "keep not_archived"]),
        ({first: has[first], second: has[second]}, ["delete age", "delete age"]),
    ):
        gate = SinkCursors(archived={str(LOG): archived})
        decided = plan(facts, POLICY, gate, (), START + 999 * DAY)
        assert verdicts(decided) == [*expected, "compress age", "keep active"]
    other = plan(facts, POLICY, SinkCursors(archived={"a@b": has}), (), START + 999 * DAY)
    assert verdicts(other)[0] == "keep not_archived", "another log's segments"
    assert "does not have it yet" in other.actions[0].detail
    without = plan(facts, POLICY, SinkCursors(), (), START + 999 * DAY)
    assert verdicts(without)[0] == "delete age", "no archive is configured"


def test_what_a_sink_was_not_given_is_kept_when_it_is_put_back() -> None:
    facts = facts_of(segment(0), segment(1), segment(2), segment(3))
    cursor = replace(cursor_at(facts.segments[LOG][2], 30), gaps=((11, 20),))
    decided = plan(facts, POLICY, gate_of(cursor), (), START + 999 * DAY)
    assert verdicts(decided) == ["delete age", "keep not_shipped", "delete age", "keep active"]
    assert "main was not given records 11 to 20" in decided.actions[1].detail


def test_the_slowest_of_two_sinks_counts() -> None:
    facts = facts_of(segment(0), segment(1), segment(2))
    first, second, _ = facts.segments[LOG]
    gate = SinkCursors(
        ("fast", "slow"),
        {
            ("fast", LOG): SinkCursor(cursor_at(second, 20)),
            ("slow", LOG): SinkCursor(cursor_at(first, 10)),
        },
    )
    decided = plan(facts, POLICY, gate, (), START + 999 * DAY)
    assert verdicts(decided) == ["delete age", "keep not_shipped", "keep active"]
    assert "slow" in decided.actions[1].detail


def test_a_held_segment_stays_until_the_hold_expires() -> None:
    facts = facts_of(segment(0), segment(1), segment(2))
    now = START + 999 * DAY
    hold = Hold("x", "legal", "audit", "queen-rbee@*", START + DAY, START + 2 * DAY)
    decided = plan(facts, POLICY, NO_GATE, [hold], now)
    assert verdicts(decided) == ["delete age", "keep held", "keep active"]
    decided = plan(facts, POLICY, NO_GATE, [replace(hold, expires_at=now)], now)
    assert verdicts(decided)[1] == "delete age"


def test_a_hold_by_actor_keeps_what_has_a_record_of_hers_or_was_not_searched() -> None:
    hold = Hold("x", "legal", "audit", actor="alice")
    found = [segment(day) for day in range(4)]
    facts = facts_of(
        replace(found[0], matches=frozenset({"x"})),
        replace(found[1], matches=frozenset({"other"})),
        *found[2:],
    )
    decided = plan(facts, POLICY, NO_GATE, [hold], START + 999 * DAY)
    assert verdicts(decided) == ["keep held", "delete age", "keep held", "keep active"]
    assert "not searched" in decided.actions[2].detail


def test_what_is_damaged_or_foreign_stays() -> None:
    facts = facts_of(
        segment(0, damage="the line is not a record"),
        segment(1),
        foreign=(ForeignFile(Path("audit/old.ndjson"), 7),),
    )
    decided = plan(facts, POLICY, NO_GATE, (), START + 999 * DAY)
    assert verdicts(decided) == ["keep damaged", "keep active", "keep foreign"]
    assert decided.kept() == {"damaged": 1, "active": 1, "foreign": 1}


def log_of(
    *segments: Segment, gate: SinkCursors = NO_GATE, holds: tuple[Hold, ...] = (), days: int = 999
) -> SubjectGroup:
    now = START + days * DAY
    return log_group(LOG, segments, policy=POLICY, cursors=gate, holds=holds, now=now)


def said(subject: Subject, group: SubjectGroup, newer: int = 1) -> dict[str, str]:
    """The words of every rule that was asked, by its reason."""
    return {finding.rule: finding.detail for finding in explain(subject, newer, group)}


HOLD_ON_ANOTHER_LOG = Hold("y", "legal", "audit", "other@*")
BOTH_SINKS = SinkCursors(
    ("main", "copy"),
    {(sink, LOG): SinkCursor(cursor_at(segment(0), 10)) for sink in ("main", "copy")},
)


@pytest.mark.parametrize(
    ("gate", "shipped"),
    [
        (NO_GATE, "no sink is configured: nothing waits for being shipped"),
        (BOTH_SINKS, "main, copy acknowledged seq 10 and everything before it"),
    ],
    ids=["no sink", "two sinks"],
)
def test_each_rule_says_why_a_segment_may_go(gate: SinkCursors, shipped: str) -> None:
    assert said(
        segment(0), log_of(segment(0), segment(1), gate=gate, holds=(HOLD_ON_ANOTHER_LOG,))
    ) == {
        "damaged": "no damage was found",
        "active": "1 of its log's segments are newer",
        "too_recent": "last record 998 d ago, deleted after 90d",
        "not_shipped": shipped,
        "held": "none of the 1 holds in force covers it",
        "age": "delete: last record 998 d ago, deleted after 90d",
    }


def test_the_newest_segment_that_may_be_compressed_has_no_writer() -> None:
    newest = replace(segment(0), at_rest=True)
    group = log_of(newest, gate=replace(NO_GATE, archived={}))
    assert said(newest, group, 0)["active"] == (
        "it is its log's newest segment, and no writer has that open"
    )


@pytest.mark.parametrize("damage", ["", "torn"])
def test_a_segment_is_damaged_by_its_own_content_or_by_its_neighbour(damage: str) -> None:
    group = replace(log_of(), misfits={1: "its end does not fit"})
    found = segment(0, damage=damage)
    assert judge(found, 1, group) == ("keep", "damaged", damage or "its end does not fit")
    assert judge(found, 2, group)[1] == ("damaged" if damage else "age")


BEHIND = gate_of(cursor_at(segment(0), 10))
NAMELESS = gate_of(replace(cursor_at(segment(2), 999), segment="no segment's name"))


@pytest.mark.parametrize(
    ("group", "reason", "detail"),
    [
        (log_of(days=30), "too_recent", "last record 29 d ago, compressed after 30d"),
        (log_of(gate=BEHIND), "not_shipped", "sink main has acknowledged up to seq 10"),
        (log_of(gate=NAMELESS), "not_shipped", "sink main has acknowledged up to seq 999"),
        (
            log_of(gate=gate_of(None)),
            "not_shipped",
            "sink main has acknowledged nothing of the log",
        ),
    ],
    ids=["too recent", "behind", "without a name", "no cursor"],
)
def test_a_segment_that_its_name_keeps_is_not_read(
    group: SubjectGroup, reason: str, detail: str
) -> None:
    unread = Segment(segment(1).file)
    found = first_keeping(unread, 1, group)
    assert found == (reason, True, detail, "")
    assert judge(segment(1), 1, group)[:2] == ("keep", reason)


@pytest.mark.parametrize("place", [0, 1])
def test_a_segment_is_read_where_a_cursor_is_in_it_or_behind_it(place: int) -> None:
    group = log_of(gate=gate_of(cursor_at(segment(1 + place), 20)))
    found = first_keeping(Segment(segment(1).file), 1, group)
    assert found == ("damaged", True, "it was not read", "reading")
    assert judge(segment(1), 1, group).action == "delete"


@pytest.mark.parametrize(
    ("gap", "reason"),
    [
        ((1, 10), "age"),
        ((5, 11), "not_shipped"),
        ((12, 13), "not_shipped"),
        ((20, 25), "not_shipped"),
        ((21, 25), "age"),
    ],
)
def test_a_gap_keeps_the_segments_that_have_a_record_of_it(
    gap: tuple[int, int], reason: str
) -> None:
    gate = gate_of(replace(cursor_at(segment(2), 30), gaps=(gap,)))
    assert judge(segment(1), 1, log_of(gate=gate)).reason == reason


@pytest.mark.parametrize(
    ("hold", "searched"),
    [
        (Hold("x", "legal", "audit", actor="alice"), True),
        (Hold("x", "legal", "audit", correlation_id="c", from_at=START), True),
        (Hold("x", "legal", "audit", actor="alice", from_at=START + DAY), False),
        (Hold("x", "legal", "audit", "other@*", actor="alice"), False),
        (Hold("x", "legal", "audit"), False),
    ],
    ids=["an actor's", "a correlation's", "later", "another log's", "everybody's"],
)
def test_a_segment_is_searched_for_the_holds_by_record_that_cover_it(
    hold: Hold, searched: bool
) -> None:
    group = log_of(holds=(hold,))
    assert holds_to_search(segment(0), group) == ((hold,) if searched else ())
    found = first_keeping(segment(0), 1, group)
    assert (found is not None and found.needs == "search") == searched


# Daily indices ------------------------------------------------------------------------------

INDICES = IndexPolicy("main", ("http://a:9200",), "p", 30 * DAY, 0.5)
ENDED = START + DAY
MOMENT = dt.timedelta(microseconds=1)
OLD = ENDED + 30 * DAY
FIRST_DAY = START.date()


def judged_index(
    now: dt.datetime,
    newer: int = 1,
    *,
    day: dt.date | None = FIRST_DAY,
    pending: dt.date | None = None,
    hold: Hold | None = None,
) -> Verdict:
    group = index_group(INDICES, [] if hold is None else [hold], now, pending)
    index = Index("p-2026.08.01", "u", 3, 100, day)
    verdict = judge(index, newer, group)
    assert (verdict.action == "delete") == (is_removable(index, newer, group) and now >= OLD)
    return verdict


def test_an_index_is_deleted_when_its_day_ended_long_ago_and_a_newer_one_is_there() -> None:
    assert judged_index(OLD) == ("delete", "expired", "its day ended 30 d ago, deleted after 30d")
    assert judged_index(OLD - MOMENT)[:2] == ("keep", "too_recent")
    assert judged_index(OLD, 0) == ("keep", "newest", "none of the indices of main are newer")
    assert judged_index(OLD, day=None)[:2] == ("keep", "outside")


@pytest.mark.parametrize(
    ("days", "reason"), [(-1, "not_shipped"), (0, "not_shipped"), (1, "expired")]
)
def test_an_index_stays_while_records_of_its_day_or_before_are_pending(
    days: int, reason: str
) -> None:
    assert judged_index(OLD, pending=(START + days * DAY).date()).reason == reason


@pytest.mark.parametrize(
    ("hold", "reason"),
    [
        (Hold("x", "legal", "audit", from_at=ENDED - MOMENT), "held"),
        (Hold("x", "legal", "audit", from_at=ENDED), "expired"),
        (Hold("x", "legal", "audit", actor="alice"), "held"),
        (Hold("x", "legal", "audit", expires_at=OLD), "expired"),
    ],
)
def test_an_index_stays_while_a_hold_touches_its_day(hold: Hold, reason: str) -> None:
    assert judged_index(OLD, hold=hold).reason == reason


WEEK = Index("p-2026-w31", "u", 3, 100, FIRST_DAY, FIRST_DAY + 6 * DAY)


@pytest.mark.parametrize(
    ("days", "keeps"), [(-1, True), (0, True), (3, True), (6, True), (7, False), (None, False)]
)
def test_an_index_stays_while_a_segment_of_its_week_or_before_is_not_archived(
    days: int | None, keeps: bool
) -> None:
    since = None if days is None else FIRST_DAY + days * DAY
    verdict = judge(WEEK, 1, index_group(INDICES, [], START + 99 * DAY, None, since))
    assert verdict.action == ("keep" if keeps else "delete")
    if keeps:
        detail = f"the archive does not have all segments of {since}, nor perhaps of later days"
        assert verdict == ("keep", "not_archived", detail)


@pytest.mark.parametrize(("days", "reason"), [(0, "not_archived"), (1, "expired")])
def test_an_index_of_one_day_stays_while_that_day_is_not_archived(days: int, reason: str) -> None:
    group = index_group(INDICES, [], START + 99 * DAY, None, FIRST_DAY + days * DAY)
    assert judge(replace(WEEK, last_day=None), 1, group).reason == reason


def test_each_rule_says_why_an_index_may_go() -> None:
    hold = Hold("x", "legal", "audit", until_at=START)
    assert said(WEEK, index_group(INDICES, [hold], START + 99 * DAY, None)) == {
        "outside": "its name must be the prefix and a day, week or month, and nothing else",
        "newest": "1 of the indices of main are newer",
        "too_recent": "its day ended 92 d ago, deleted after 30d",
        "held": "none of the 1 holds in force touches its day",
        "not_shipped": "the logs of this host have shipped everything of its day",
        "expired": "delete: its day ended 92 d ago, deleted after 30d",
    }


# Foreign files ------------------------------------------------------------------------------

ADOPTER = ForeignPolicy("*.ndjson", POLICY, "not_required")


def judged_file(file: AdoptedFile, newer: int = 1, *holds: Hold) -> Verdict:
    return judge(file, newer, pattern_group(ADOPTER, holds, START + 90 * DAY))


def test_a_file_is_active_for_an_hour_after_it_was_written() -> None:
    hour_ago = START + 90 * DAY - dt.timedelta(hours=1)
    file = AdoptedFile(Path("a"), ("",), 1, ADOPTER, hour_ago, content=content_at(START))
    assert judged_file(file)[:2] == ("delete", "age")
    assert judged_file(replace(file, modified_at=hour_ago + MOMENT)).reason == "active"
    assert judged_file(replace(file, open_for_writing=True)).reason == "active"
    assert judged_file(file, 0).reason == "newest"


def test_a_file_says_who_shipped_it_or_that_nobody_has_to() -> None:
    file = AdoptedFile(Path("a"), ("",), 1, ADOPTER, START, content=content_at(START))
    assert judged_file(file).action == "delete"
    assert "no source ships it, and none is required" in judged_file(file).detail
    shipped = replace(file, progress=(SourceProgress("old", "main", ""),))
    assert judged_file(shipped).action == "delete"
    assert "no source" not in judged_file(shipped).detail
    behind = replace(file, progress=(SourceProgress("old", "main", "has 3 of 7 lines"),))
    assert judged_file(behind)[:2] == ("keep", "not_shipped")
    assert judged_file(replace(file, content=None))[:2] == ("keep", "damaged")


def test_a_hold_by_actor_keeps_a_file_with_a_line_of_hers() -> None:
    file = AdoptedFile(Path("a"), ("",), 1, ADOPTER, START, content=content_at(START))
    hers = replace(file, content=content_at(START, matches=frozenset({"x"})))
    hold = Hold("x", "legal", "audit", actor="alice")
    assert judged_file(file, 1, hold).action == "delete"
    assert judged_file(hers, 1, hold)[:2] == ("keep", "held")
    assert judged_file(file, 1, replace(hold, actor=None))[:2] == ("keep", "held")
    assert judged_file(file, 1, replace(hold, actor=None, logs="b*")).action == "delete"


@pytest.mark.parametrize(
    ("until", "untimed", "reason"),
    [(START, 0, "age"), (START + MOMENT, 0, "held"), (START, 1, "held")],
    ids=["before its first line", "from its first line", "lines without a time"],
)
def test_a_hold_covers_a_file_from_its_first_line(
    until: dt.datetime, untimed: int, reason: str
) -> None:
    content = content_at(START, untimed=untimed)
    file = AdoptedFile(Path("a"), ("",), 1, ADOPTER, START, content=content)
    assert judged_file(file, 1, Hold("x", "legal", "audit", until_at=until)).reason == reason


def test_a_file_that_no_source_ships_goes_only_where_that_is_said() -> None:
    file = AdoptedFile(Path("a"), ("",), 1, ForeignPolicy("*", POLICY), START)
    verdict = judged_file(replace(file, content=content_at(START)))
    assert verdict == (
        "keep",
        "not_shipped",
        'no source ships it to a sink; shipped = "not_required" would allow to delete it',
    )


@pytest.mark.parametrize(
    ("progress", "shipped"),
    [
        ((), "no source ships it, and none is required"),
        (
            (SourceProgress("main", "old"), SourceProgress("copy", "old")),
            "old to main, old to copy: shipped to its end",
        ),
    ],
    ids=["not shipped", "to two sinks"],
)
def test_each_rule_says_why_a_file_may_go(
    progress: tuple[SourceProgress, ...], shipped: str
) -> None:
    content = content_at(START)
    file = AdoptedFile(Path("a"), ("",), 1, ADOPTER, START, content=content, progress=progress)
    group = pattern_group(ADOPTER, [replace(HOLD_ON_ANOTHER_LOG, logs="b*")], START + 90 * DAY)
    ungated = "" if progress else f"; {shipped}"
    age = f"last line 90 d ago, deleted after 90d{ungated}"
    assert said(file, group) == {
        "damaged": "no damage was found",
        "newest": "1 of the files of *.ndjson are newer",
        "active": "it was written to 90 d ago",
        "too_recent": age,
        "held": "none of the 1 holds in force covers it",
        "not_shipped": shipped,
        "age": f"delete: {age}",
    }
