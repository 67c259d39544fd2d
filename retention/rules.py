"""What is to become of one segment: the rules, in order.  Pure: no clock, disk, network.

The first rule that keeps a segment gives the reason:

  damaged      its ends cannot be read, or do not fit its neighbour
  active       the newest segment of a log, which may be being written
  newest       the newest one where it is compressed; or deletion is due and it is among the
               ``keep_at_least`` newest
  too_recent   neither compression nor deletion is due, counted from its last record
  held         a legal hold matches; one by actor or correlation id is looked up last
  not_shipped  a configured sink has not acknowledged its last record, or its cursor is in doubt
  proof        deletion is due, but it holds tombstones: what proves deletions is never deleted

What is left is compressed (plain) or deleted, both for "age".  A segment's name says between which
instants its records lie; where that decides, it need not be read (``needs_reading``).  ``ageless``
judges as if every segment were old enough, for who needs room (retention.room).

Invariants (tests of the same name in tests/retention/test_rules.py):
  shipped      nothing beyond the slowest sink's cursor, or in a gap before it, is compressed or
               deleted
  held         nothing a hold in force covers is compressed or deleted
  newest       the newest segment of a log is never touched, keep_at_least are never deleted
  monotone     what is deleted at an instant is deleted at every later one, all else being equal
  frugal       a segment that needs no reading is judged the same when it was read
  per_log      each log is judged by the policy that its id has
  explained    the first finding that keeps, of those that explain one segment, is its verdict
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from auditlog.format.segment_names import LogId, SegmentName, is_segment_name
from retention.policy import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from auditlog.reading.inventory import SegmentFile
    from auditlog.reading.reader import Bounds
    from retention.facts import SegmentFacts, ShipGate
    from retention.holds import Hold
    from retention.policy import Policy

__all__ = [
    "PROOF_SERVICE",
    "Finding",
    "Verb",
    "Verdict",
    "counted_from",
    "explain",
    "judge",
    "needs_reading",
    "to_be_searched",
]

PROOF_SERVICE: Final = "retention"
"""The service whose logs hold the tombstones."""

Verb = Literal["keep", "compress", "delete"]

_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An action, the rule it comes from, and that rule's reasoning in a few words."""

    action: Verb
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule said about one segment; ``keeps`` is whether it stands in the way."""

    rule: str
    keeps: bool
    detail: str


@dataclass(frozen=True, slots=True)
class _Court:
    """Judges the segments of one log, so that what holds for all of them is worked out once."""

    log: LogId
    count: int
    policy: Policy
    gate: ShipGate
    holds: tuple[Hold, ...]
    now: dt.datetime
    doubts: dict[str, str] = field(default_factory=dict)  # sink -> why its cursor is not believed
    ageless: bool = False

    def by_name(self, file: SegmentFile, index: int) -> Verdict | None:
        """The verdict where the name alone decides, which is always to keep."""
        if (last := self._last(file, index)) is not None:
            return last
        begins = _day_begins(file.name)
        # No record is counted as older than the day in the name, so this age is the largest it
        # can have.
        if (young := self._too_recent(file, begins)) is not None:
            return young
        if (held := self._held(begins, _day_ends(file.name))) is not None:
            return held
        return self._behind_by_name(file)

    def _last(self, file: SegmentFile, index: int) -> Verdict | None:
        if index < self.count - 1:
            return None
        if "" in file.forms:
            return _keep("active", "it may be being written")
        return _keep("newest", "it is the log's newest segment")

    def _behind_by_name(self, file: SegmentFile) -> Verdict | None:
        for sink in self.gate.sinks:
            known = self.gate.cursor(sink, self.log)
            doubt = known.problem or self.doubts.get(sink, "")
            if known.cursor is None or doubt:
                return _keep(
                    "not_shipped", f"sink {sink} {doubt or 'has acknowledged nothing of the log'}"
                )
            if _segment_before(known.cursor.segment, file.name):
                return _keep("not_shipped", _behind(sink, known.cursor.seq))
        return None

    def by_content(self, facts: SegmentFacts, index: int) -> Verdict:
        file, bounds = facts.file, facts.bounds
        if bounds is None:
            return _keep("damaged", "it was not read")
        since = counted_from(file, bounds)
        if (young := self._too_recent(file, since)) is not None:
            return young
        first_at, last_at = _span(file, bounds)
        if (held := self._held(first_at, last_at)) is not None:
            return held
        if (behind := self._behind(bounds)) is not None:
            return behind
        if (held := self._held_by_record(facts, first_at, last_at)) is not None:
            return held
        return self._due(file, index, self.now - since)

    def _behind(self, bounds: Bounds) -> Verdict | None:
        for sink in self.gate.sinks:
            cursor = self.gate.cursor(sink, self.log).cursor
            if cursor is None or cursor.seq < bounds.last_seq:
                seq = 0 if cursor is None else cursor.seq
                return _keep("not_shipped", _behind(sink, seq, bounds.last_seq))
            for first, last in cursor.gaps:
                if first <= bounds.last_seq and last >= bounds.first_seq:
                    return _keep("not_shipped", _not_given(sink, first, last))
        return None

    def _due(self, file: SegmentFile, index: int, age: dt.timedelta) -> Verdict:
        protected = None
        if index >= self.count - self.policy.keep_at_least:
            least = self.policy.keep_at_least
            protected = _keep("newest", f"it is among the {least} newest of its log")
        elif self.log.service == PROOF_SERVICE:
            protected = _keep("proof", "it holds the tombstones of deleted segments")
        limit = self.policy.delete_after
        if (self.ageless or age >= limit) and protected is None:
            return Verdict("delete", "age", _age(age, limit, "deleted"))
        if "" in file.forms:
            limit = self.policy.compress_after
            return Verdict("compress", "age", _age(age, limit, "compressed"))
        # compressed, and not too recent: deletion is due and something protects it
        return protected or _keep("too_recent", _age(age, limit, "deleted"))

    def _too_recent(self, file: SegmentFile, since: dt.datetime) -> Verdict | None:
        limit, verb = (
            (self.policy.compress_after, "compressed")
            if "" in file.forms
            else (self.policy.delete_after, "deleted")
        )
        age = self.now - since
        if self.ageless or age >= limit:
            return None
        return _keep("too_recent", _age(age, limit, verb))

    def _held(self, first_at: dt.datetime, last_at: dt.datetime) -> Verdict | None:
        for hold in self.holds:
            if not hold.reads_records and hold.covers(str(self.log), first_at, last_at):
                return _keep("held", f"hold {hold.id} of {hold.owner}")
        return None

    def searching(self, first_at: dt.datetime, last_at: dt.datetime) -> tuple[Hold, ...]:
        """The holds whose records have to be looked for in what lies between the instants."""
        return tuple(
            hold
            for hold in self.holds
            if hold.reads_records and hold.covers(str(self.log), first_at, last_at)
        )

    def _held_by_record(
        self, facts: SegmentFacts, first_at: dt.datetime, last_at: dt.datetime
    ) -> Verdict | None:
        for hold in self.searching(first_at, last_at):
            if facts.matches is None:
                return _keep("held", f"hold {hold.id} of {hold.owner}: it was not searched")
            if hold.id in facts.matches:
                return _keep("held", f"hold {hold.id} of {hold.owner} has a record in it")
        return None

    def findings(self, facts: SegmentFacts, index: int, misfit: str) -> Iterator[Finding]:
        """What each rule says, in their order, whichever of them decided."""
        file, bounds = facts.file, facts.bounds
        damage = facts.damage or misfit or ("" if bounds is not None else "it was not read")
        yield Finding("damaged", bool(damage), damage or "its two ends are intact and fit")
        last = self._last(file, index)
        position = f"segment {index + 1} of {self.count} of its log"
        yield Finding(
            "active" if last is None else last.reason,
            last is not None,
            position if last is None else f"{position}: {last.detail}",
        )
        if bounds is None:
            return
        since = counted_from(file, bounds)
        young = self._too_recent(file, since)
        first_at, last_at = _span(file, bounds)
        held, searched = self._held(first_at, last_at), self.searching(first_at, last_at)
        behind = self._behind_by_name(file) or self._behind(bounds)
        by_record = self._held_by_record(facts, first_at, last_at)
        limit = self.policy.compress_after if "" in file.forms else self.policy.delete_after
        verb = "compressed" if "" in file.forms else "deleted"
        found = [
            _finding("too_recent", young, _age(self.now - since, limit, verb)),
            _finding("held", held, f"none of the {len(self.holds)} holds in force covers it whole"),
            _finding("not_shipped", behind, _acknowledged(self.gate.sinks, bounds)),
            _finding("held", by_record, f"{len(searched)} holds were looked for, none found"),
        ]
        # What the name decides comes before what is read: how late on its day its last record is.
        if young is not None and (named := self.by_name(file, index)) is not None:
            found.sort(key=lambda finding: not (finding.keeps and finding.rule == named.reason))
        yield from found
        if young is not None:
            return
        due = self._due(file, index, self.now - since)
        yield Finding(due.reason, due.action == "keep", f"{due.action}: {due.detail}")


def judge(
    log: LogId,
    segments: Sequence[SegmentFacts],
    *,
    policy: Policy,
    cursors: ShipGate,
    holds: Iterable[Hold],
    now: dt.datetime,
    ageless: bool = False,
) -> Iterator[Verdict]:
    """One verdict for each segment of a log, which come in write order."""
    court = _court(
        log, segments, policy=policy, cursors=cursors, holds=holds, now=now, ageless=ageless
    )
    misfits = _misfits(segments)
    for index, segment in enumerate(segments):
        if damage := segment.damage or misfits.get(index, ""):
            yield _keep("damaged", damage)
        else:
            yield court.by_name(segment.file, index) or court.by_content(segment, index)


def explain(
    log: LogId,
    segments: Sequence[SegmentFacts],
    index: int,
    *,
    policy: Policy,
    cursors: ShipGate,
    holds: Iterable[Hold],
    now: dt.datetime,
) -> tuple[Finding, ...]:
    """Every rule that looked at one segment, and what it said."""
    court = _court(log, segments, policy=policy, cursors=cursors, holds=holds, now=now)
    return tuple(court.findings(segments[index], index, _misfits(segments).get(index, "")))


def needs_reading(
    log: LogId,
    files: Sequence[SegmentFile],
    *,
    policy: Policy,
    cursors: ShipGate,
    holds: Iterable[Hold],
    now: dt.datetime,
    ageless: bool = False,
) -> list[bool]:
    """For each segment of a log, whether its name leaves the decision open."""
    in_force = tuple(hold for hold in holds if hold.in_force(now))
    policy = policy.of(str(log))
    court = _Court(log, len(files), policy, cursors, in_force, now, ageless=ageless)
    return [court.by_name(file, index) is None for index, file in enumerate(files)]


def to_be_searched(
    log: LogId,
    segments: Sequence[SegmentFacts],
    *,
    policy: Policy,
    cursors: ShipGate,
    holds: Sequence[Hold],
    now: dt.datetime,
    ageless: bool = False,
) -> dict[int, tuple[Hold, ...]]:
    """Which segments would be touched but for holds that only their records can tell of."""
    named = [hold for hold in holds if not hold.reads_records]
    verdicts = judge(
        log, segments, policy=policy, cursors=cursors, holds=named, now=now, ageless=ageless
    )
    court = _court(log, segments, policy=policy, cursors=cursors, holds=holds, now=now)
    searched = {}
    for index, (segment, verdict) in enumerate(zip(segments, verdicts, strict=True)):
        if verdict.action == "keep" or segment.bounds is None:
            continue
        if found := court.searching(*_span(segment.file, segment.bounds)):
            searched[index] = found
    return searched


def _court(
    log: LogId,
    segments: Sequence[SegmentFacts],
    *,
    policy: Policy,
    cursors: ShipGate,
    holds: Iterable[Hold],
    now: dt.datetime,
    ageless: bool = False,
) -> _Court:
    doubts = _doubts(log, segments, cursors)
    in_force = tuple(hold for hold in holds if hold.in_force(now))
    return _Court(log, len(segments), policy.of(str(log)), cursors, in_force, now, doubts, ageless)


def _doubts(log: LogId, segments: Sequence[SegmentFacts], gate: ShipGate) -> dict[str, str]:
    """Cursors that do not fit the log, which then say nothing about any of its segments."""
    doubts: dict[str, str] = {}
    head = segments[-1].bounds if segments else None
    for sink in gate.sinks:
        cursor = gate.cursor(sink, log).cursor
        if cursor is None:
            continue
        if cursor.log != str(log):
            doubts[sink] = f"has a cursor of another log, {cursor.log}"
        elif head is not None and cursor.seq > head.last_seq:
            doubts[sink] = f"has a cursor at seq {cursor.seq}, beyond the log's {head.last_seq}"
        elif any(_contradicts(cursor.seq, cursor.hash, facts.bounds) for facts in segments):
            doubts[sink] = f"has a cursor at seq {cursor.seq} with a hash that is not this log's"
    return doubts


def _contradicts(seq: int, digest: str, bounds: Bounds | None) -> bool:
    if bounds is None:
        return False
    return (seq == bounds.last_seq and digest != bounds.last_hash) or (
        seq == bounds.first_seq - 1 and digest != bounds.first_prev_hash
    )


def _misfits(segments: Sequence[SegmentFacts]) -> dict[int, str]:
    """Neighbours that overlap or whose hashes do not meet; which of the two is bad is unknown.

    A gap in the numbers is no misfit: what lay between may have been deleted before.
    """
    misfits: dict[int, str] = {}
    for index in range(1, len(segments)):
        before, after = segments[index - 1].bounds, segments[index].bounds
        if before is None or after is None or after.first_seq > before.last_seq + 1:
            continue
        if after.first_seq <= before.last_seq or after.first_prev_hash != before.last_hash:
            misfits[index - 1] = "its end does not fit the beginning of the next segment"
            misfits[index] = "its beginning does not fit the end of the segment before"
    return misfits


def _day_begins(name: SegmentName) -> dt.datetime:
    return dt.datetime.combine(name.day, dt.time(), dt.UTC)


def _day_ends(name: SegmentName) -> dt.datetime:
    return dt.datetime.combine(name.day, dt.time.max, dt.UTC)


def _span(file: SegmentFile, bounds: Bounds) -> tuple[dt.datetime, dt.datetime]:
    """Between which instants the records lie, by whole days (see retention.holds)."""
    return (
        min(_day_begins(file.name), bounds.first_at),
        max(_day_ends(file.name), bounds.last_at),
    )


def counted_from(file: SegmentFile, bounds: Bounds) -> dt.datetime:
    """The last record's instant; the segment's day where a clock set back made that earlier."""
    return max(bounds.last_at, _day_begins(file.name))


def _segment_before(segment: str, name: SegmentName) -> bool:
    """Whether a cursor's segment was written before ``name``; an unreadable one counts as that."""
    if not is_segment_name(segment):
        return True
    other = SegmentName.parse(segment)
    return (other.day, other.part) < (name.day, name.part)


def _keep(reason: str, detail: str) -> Verdict:
    return Verdict("keep", reason, detail)


def _finding(rule: str, verdict: Verdict | None, otherwise: str) -> Finding:
    return Finding(rule, verdict is not None, otherwise if verdict is None else verdict.detail)


def _acknowledged(sinks: tuple[str, ...], bounds: Bounds) -> str:
    if not sinks:
        return "no sink is configured: nothing waits for being shipped"
    return f"{', '.join(sinks)} acknowledged seq {bounds.last_seq} and what is before it"


def _behind(sink: str, seq: int, last_seq: int | None = None) -> str:
    until = "" if last_seq is None else f", the segment ends at {last_seq}"
    return f"sink {sink} has acknowledged up to seq {seq}{until}"


def _not_given(sink: str, first: int, last: int) -> str:
    return f"sink {sink} was not given records {first} to {last}, which were not here in their turn"


def _age(age: dt.timedelta, limit: dt.timedelta, verb: str) -> str:
    ago = f"{age.days} d ago" if age >= _DAY else f"{max(0, int(age.total_seconds()))} s ago"
    return f"last record {ago}, {verb} after {format_duration(limit)}"
