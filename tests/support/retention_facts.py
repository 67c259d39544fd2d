"""Facts made up for plans: a log's segments, cursors and holds, without a file anywhere."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from hypothesis import strategies as st

from auditlog.cursors import Cursor
from auditlog.format.record import GENESIS_HASH
from auditlog.format.segment_names import LogId, SegmentName
from auditlog.reading.inventory import SegmentFile
from auditlog.reading.reader import Bounds
from retention.holds import Hold
from retention.plan import DirectoryPlan, plan
from retention.policy import ForeignPolicy, RetentionPolicy
from retention.subjects import (
    AdoptedFile,
    DirectoryFacts,
    ForeignFile,
    Segment,
    SinkCursor,
    SinkCursors,
)
from tests.support.foreign import content_at

__all__ = [
    "DAY",
    "DIRECTORY",
    "LOG",
    "NO_GATE",
    "POLICY",
    "START",
    "Input",
    "any_input",
    "cursor_at",
    "decide",
    "facts_of",
    "facts_sets",
    "gate_of",
    "gates",
    "hold_lists",
    "instants",
    "policies",
    "segment",
    "verdicts",
]

DIRECTORY = Path("audit")
LOG = LogId("queen-rbee", "hive1")
START = dt.datetime(2026, 8, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
POLICY = RetentionPolicy(max_delete_fraction=1.0)
NO_GATE = SinkCursors()

instants = st.integers(-5 * 86400, 400 * 86400).map(lambda s: START + dt.timedelta(seconds=s))


def record_hash(log: LogId, seq: int) -> str:
    return GENESIS_HASH if seq == 0 else sha256(f"{log} {seq}".encode()).hexdigest()


def segment(
    day: int,
    *,
    log: LogId = LOG,
    part: int = 1,
    forms: tuple[str, ...] = ("",),
    first: int | None = None,
    records: int = 10,
    last_at: dt.datetime | None = None,
    damage: str = "",
) -> Segment:
    """The segment ``day`` days after START; by default ten records, the last at noon."""
    begins = START + day * DAY
    name = SegmentName(log, begins.date(), part, forms[0])
    first = day * 10 + 1 if first is None else first
    last = first + records - 1
    bounds = Bounds(
        first,
        record_hash(log, first - 1),
        begins,
        last,
        record_hash(log, last),
        begins + DAY / 2 if last_at is None else last_at,
    )
    file = SegmentFile(name, DIRECTORY, 100 + day, forms)
    return Segment(file, None if damage else bounds, damage)


def facts_of(*segments: Segment, foreign: tuple[ForeignFile, ...] = ()) -> DirectoryFacts:
    logs: dict[LogId, list[Segment]] = {}
    for facts in segments:
        logs.setdefault(facts.file.name.log, []).append(facts)
    return DirectoryFacts(DIRECTORY, {log: tuple(found) for log, found in logs.items()}, foreign)


def cursor_at(facts: Segment, seq: int, *, digest: str | None = None) -> Cursor:
    log = facts.file.name.log
    digest = record_hash(log, seq) if digest is None else digest
    return Cursor(str(log), facts.file.name.logical, 1, seq, digest, START)


def gate_of(cursor: Cursor | None, *, sink: str = "main", log: LogId = LOG) -> SinkCursors:
    return SinkCursors((sink,), {(sink, log): SinkCursor(cursor)})


@st.composite
def policies(draw: st.DrawFn) -> RetentionPolicy:
    compress = draw(st.integers(1, 60))
    delete = compress + draw(st.integers(1, 120))
    least = draw(st.integers(1, 4))
    policy = RetentionPolicy(
        compress * DAY, delete * DAY, keep_at_least=least, max_delete_fraction=1.0
    )
    if draw(st.booleans()):
        glob = draw(st.sampled_from(["queen-*", "*@hive1", "nobody@*"]))
        longer = replace(policy, delete_after=policy.delete_after + draw(st.integers(0, 99)) * DAY)
        policy = replace(policy, overrides=((glob, longer),))
    return policy


@st.composite
def facts_sets(draw: st.DrawFn) -> DirectoryFacts:
    """Up to three sound logs, one of them the retention service's own; some segments damaged."""
    found: list[Segment] = []
    for service in ("queen-rbee", "rbee-hive", "retention"):
        log = LogId(service, "hive1")
        seq, day = 1, draw(st.integers(0, 20))
        for _ in range(draw(st.integers(0, 6))):
            records = draw(st.integers(1, 9))
            late = dt.timedelta(hours=draw(st.integers(-30, 23)))  # clocks are set back, too
            found.append(
                replace(
                    segment(
                        day,
                        log=log,
                        forms=draw(
                            st.sampled_from([("",), (".zst",), (".gz",), ("", ".zst"), ("", ".gz")])
                        ),
                        first=seq,
                        records=records,
                        last_at=START + day * DAY + late,
                        damage=draw(st.sampled_from(["", "", "", "", "torn"])),
                    ),
                    matches=draw(st.sampled_from([None, frozenset(), frozenset({"hold-0"})])),
                )
            )
            seq += records + draw(st.sampled_from([0, 0, 0, 5]))  # a gap: deleted before
            day += draw(st.integers(1, 30))
    count = draw(st.integers(0, 2))
    foreign = tuple(ForeignFile(DIRECTORY / f"old-{n}.ndjson", n) for n in range(count))
    adopter = ForeignPolicy(
        "*.ndjson", RetentionPolicy(), draw(st.sampled_from(["required", "not_required"]))
    )
    ages = sorted(draw(st.lists(st.integers(0, 90), max_size=4)))
    adopted = tuple(
        AdoptedFile(
            DIRECTORY / f"adopted-{n}.ndjson",
            draw(st.sampled_from([("",), (".gz",)])),
            100 + n,
            adopter,
            START + day * DAY,
            damage=draw(st.sampled_from(["", "", "torn"])),
            content=draw(st.sampled_from([content_at(START + day * DAY), None])),
        )
        for n, day in enumerate(ages)
    )
    return replace(facts_of(*found, foreign=foreign), adopted=adopted)


@st.composite
def gates(draw: st.DrawFn, facts: DirectoryFacts) -> SinkCursors:
    """Any number of sinks; each has a cursor somewhere, or none, or one in doubt."""
    sinks = tuple(draw(st.sampled_from([(), ("main",), ("main", "copy")])))
    cursors: dict[tuple[str, LogId], SinkCursor] = {}
    for sink in sinks:
        for log, segments in facts.segments.items():
            state = draw(st.sampled_from(["fits", "fits", "fits", "none", "problem", "foreign"]))
            where = draw(st.sampled_from(segments))
            if state == "none" or where.bounds is None:
                continue
            seq = draw(st.integers(where.bounds.first_seq, where.bounds.last_seq))
            if draw(st.booleans()):
                seq = where.bounds.last_seq
            begin, end = sorted(draw(st.tuples(st.integers(1, seq), st.integers(1, seq))))
            cursor = cursor_at(where, seq, digest="f" * 64 if state == "foreign" else None)
            cursors[sink, log] = SinkCursor(
                replace(
                    cursor,
                    gaps=((begin, end),) * draw(st.integers(0, 1)),
                    unverified=((begin, seq),) * draw(st.integers(0, 1)),
                ),
                "is in doubt" if state == "problem" else "",
            )
    return SinkCursors(sinks, cursors)


@st.composite
def hold_lists(draw: st.DrawFn) -> list[Hold]:
    holds = []
    for number in range(draw(st.integers(0, 2))):
        begin, end = sorted(draw(st.tuples(instants, instants)))
        holds.append(
            Hold(
                f"hold-{number}",
                "legal",
                "audit",
                draw(st.sampled_from(["*", "queen-rbee@*", "rbee-hive@hive1", "other@*"])),
                begin,
                end + DAY,
                draw(st.none() | instants),
                draw(st.none() | st.just("alice")),
            )
        )
    return holds


Input = tuple[tuple[DirectoryFacts, SinkCursors], RetentionPolicy, list[Hold], dt.datetime]

any_input = st.tuples(
    facts_sets().flatmap(lambda facts: st.tuples(st.just(facts), gates(facts))),
    policies(),
    hold_lists(),
    instants,
)


def decide(given_input: Input, *, later: dt.timedelta = dt.timedelta(0)) -> DirectoryPlan:
    (facts, gate), policy, holds, now = given_input
    return plan(facts, policy, gate, holds, now + later)


def verdicts(decided: DirectoryPlan) -> list[str]:
    """Return the action for each subject and its reason, in the order of the plan."""
    return [f"{action.action} {action.reason}" for action in decided.actions]
