"""Determine the state of each log and source, and list problems that need attention.

Reads names, the ends of segments, cursors and small state files; never a whole log.

Invariants (tests of the same name in tests/auditctl/survey/test_survey.py):
  healthy    shipped, undamaged logs under a retention that runs need nobody
  partition  every segment is counted in exactly one state
  problems   damage, a stuck sink, a quarantine and an overdue retention are each named
  missing    a segment that is gone without a tombstone is named
  reads_only nothing is created or changed
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from auditctl.output.render import duration_text
from auditctl.survey.ahead import is_ahead
from auditctl.survey.missing import gaps
from auditctl.survey.source_state import SourceState, source_states
from auditctl.survey.state_dir import why_unwritable
from auditlog.cursors import CursorStore
from auditlog.errors import AuditLogError
from auditlog.format.record import Header, format_timestamp, parse_header, parse_timestamp
from auditlog.format.segment_names import SegmentName
from auditlog.reading.head_note import known_head
from auditlog.reading.inventory import SegmentFile, scan
from auditlog.reading.reader import bounds, iter_lines, open_any_form
from auditlog.reading.registry import known_records_by_directory
from auditlog.reading.tombstone_scan import tombstones_in
from auditlog.verification.continuous import load_status
from retention.holds import Hold, HoldStore
from retention.memory import RunStore
from retention.tombstone_log import recorded_holds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from auditctl.config.model import Config
    from auditlog.format.segment_names import LogId
    from auditlog.reading.inventory import Inventory

__all__ = ["LogState", "SinkState", "Survey", "survey"]

_LAG_ALLOWED: Final = dt.timedelta(hours=1)
_RETENTION_ALLOWED: Final = 2  # intervals without a success
_RATE_SPAN: Final = dt.timedelta(minutes=10)
_RATE_BYTES: Final = 1 << 16
_MIN_RATE_RECORDS: Final = 20
_DAY: Final = dt.timedelta(days=1) - dt.timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class SinkState:
    """Progress of a sink in a log; ``waiting_since`` is the time of its oldest missing record."""

    sink: str
    seq: int
    lag_records: int
    waiting_since: dt.datetime | None

    def to_json(self) -> dict[str, Any]:
        waiting = self.waiting_since
        return {
            "sink": self.sink,
            "seq": self.seq,
            "lag_records": self.lag_records,
            "waiting_since": None if waiting is None else format_timestamp(waiting),
        }


@dataclass(frozen=True, slots=True)
class LogState:
    """One log in one directory; ``first_seq`` is the oldest record that is still there.

    ``per_minute`` is how fast it grew in the last ten minutes, as far as its newest records tell.
    ``states`` counts its segments: active (the newest), held, not_shipped, compressed, plain.
    """

    log: str
    directory: Path
    segments: int
    compressed: int
    size_bytes: int
    first_seq: int | None
    last_seq: int | None
    last_record_at: dt.datetime | None
    per_minute: float
    states: Mapping[str, int]
    sinks: tuple[SinkState, ...]
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        last = self.last_record_at
        return {
            "log": self.log,
            "directory": str(self.directory),
            "segments": self.segments,
            "compressed": self.compressed,
            "bytes": self.size_bytes,
            "first_seq": self.first_seq,
            "last_seq": self.last_seq,
            "last_record_at": None if last is None else format_timestamp(last),
            "records_per_minute": round(self.per_minute, 2),
            "states": dict(self.states),
            "sinks": [sink.to_json() for sink in self.sinks],
            "problems": list(self.problems),
        }


@dataclass(frozen=True, slots=True)
class Survey:
    """All logs and sources, and the problems that belong to no single one.

    ``retention`` has the last success in each directory; ``every`` is the agent's interval, None
    where no agent is configured.  ``verified_at`` is the time since when the agent has verified
    every log at least once, None before that and without an agent.
    """

    at: dt.datetime
    logs: tuple[LogState, ...]
    sources: tuple[SourceState, ...]
    retention: tuple[tuple[Path, dt.datetime | None], ...]
    every: dt.timedelta | None
    quarantined: tuple[tuple[str, int], ...]
    problems: tuple[str, ...]
    verified_at: dt.datetime | None = None

    @property
    def all_problems(self) -> tuple[str, ...]:
        """One sentence each, with what to do; empty when nothing needs attention."""
        of_logs = tuple(f"{log.log}: {problem}" for log in self.logs for problem in log.problems)
        of_sources = tuple(
            f"source {one.source}: {problem}" for one in self.sources for problem in one.problems
        )
        return of_logs + of_sources + self.problems

    def next_retention(self, last: dt.datetime | None) -> dt.datetime | None:
        """Time of the agent's next retention run; None when it is not known."""
        return None if last is None or self.every is None else last + self.every

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "auditctl.status/1",
            "at": format_timestamp(self.at),
            "ok": not self.all_problems,
            "problems": list(self.all_problems),
            "logs": [log.to_json() for log in self.logs],
            "sources": [source.to_json() for source in self.sources],
            "retention": [
                {
                    "directory": str(directory),
                    "last_success_at": None if at is None else format_timestamp(at),
                    "next_at": None
                    if (due := self.next_retention(at)) is None
                    else format_timestamp(due),
                }
                for directory, at in self.retention
            ],
            "quarantined": dict(self.quarantined),
            "verified_at": None if self.verified_at is None else format_timestamp(self.verified_at),
        }


def survey(
    config: Config, directories: Sequence[Path], state_dir: Path, now: dt.datetime
) -> Survey:
    """Look at the directories; one that is gone or cannot be listed is a problem of its own."""
    store = CursorStore(state_dir)
    configured = tuple(sink.name for sink in config.sinks)
    sinks = configured or tuple(store.sinks())
    problems: list[str] = []
    holds = _holds(state_dir, directories, now, problems)
    context = _Context(store, sinks, holds, now, config.deleting_hosts())
    inventories = tuple(_inventories(directories, problems))
    logs = tuple(
        _log_state(context, inventory, log, segments)
        for inventory in inventories
        for log, segments in inventory.logs.items()
    )
    problems += _missing_logs(inventories, directories, state_dir)
    if reason := why_unwritable(state_dir):
        problems.append(
            f"{state_dir}: {reason}, so no cursor can be saved and nothing may be deleted; "
            "free space there or remount it."
        )
    sources = source_states(config.sources, sinks, store)
    # Retention by hand has no timetable, so only a configured directory can be overdue.
    scheduled = bool(configured)
    retention = tuple(
        (directory, _last_retention(state_dir, directory, problems)) for directory in directories
    )
    for directory, at in retention:
        if scheduled and at is not None and now - at > _RETENTION_ALLOWED * config.schedule.every:
            problems.append(
                f"{directory}: retention last ended well {(now - at).days} d ago; see the agent's "
                "journal, or run auditctl prune --dry-run."
            )
    verification = load_status(state_dir)
    if verification is not None:
        problems += [f"verification: {alarm}" for alarm in verification.alarms]
    quarantined = tuple(_quarantined(state_dir, sinks))
    problems += [
        f"sink {sink}: {count} records or alarms are in quarantine; see auditctl quarantine list."
        for sink, count in quarantined
        if count
    ]
    every = config.schedule.every if scheduled else None
    verified_at = None if verification is None else verification.full_at
    return Survey(now, logs, sources, retention, every, quarantined, tuple(problems), verified_at)


def _inventories(directories: Sequence[Path], problems: list[str]) -> Iterator[Inventory]:
    for directory in directories:
        try:
            yield scan(directory)
        except OSError as error:
            problems.append(
                f"{directory}: {error.strerror}; nothing in it is shipped, verified or retained."
                " Is it mounted?"
            )


def _missing_logs(
    inventories: Sequence[Inventory], directories: Sequence[Path], state_dir: Path
) -> Iterator[str]:
    """Each log that a note or a cursor knows of and of which no segment is left."""
    present = {str(log) for inventory in inventories for log in inventory.logs}
    named: set[str] = set()
    for known in known_records_by_directory(directories, state_dir).values():
        for expected in sorted(known, key=lambda expected: -expected.seq):
            if expected.log not in present | named:
                named.add(expected.log)
                seq = f" up to seq {expected.seq}" if expected.seq else ""
                yield (
                    f"{expected.log}: no segment of this log is left, but {expected.source} knows"
                    f" it{seq}; restore its files, then run auditctl verify."
                )


@dataclass(frozen=True, slots=True)
class _Context:
    """The state that is the same for every log."""

    store: CursorStore
    sinks: Sequence[str]
    holds: Sequence[Hold]
    now: dt.datetime
    hosts: Collection[str] | None


def _log_state(
    context: _Context, inventory: Inventory, log: LogId, segments: tuple[SegmentFile, ...]
) -> LogState:
    directory = inventory.directory
    problems = _missing(inventory, log, context.hosts)
    last_seq: int | None = None
    last_at: dt.datetime | None = None
    first = None
    try:
        first = _header_at(segments[0], 0)
        for segment in reversed(segments):  # the newest may have been opened and hold nothing yet
            if (ends := bounds(segment)) is not None:
                last_seq, last_at = ends.last_seq, ends.last_at
                break
    except AuditLogError as error:
        problems.append(f"{error.reason}; run auditctl verify {directory}.")
    if last_at is not None and is_ahead(inventory, log, last_at, context.now):
        problems.append(
            f"its newest record is {duration_text(last_at - context.now)} ahead of this host's "
            "clock; set the clock right and restart its service, see docs/durability.md."
        )
    states = [
        state
        for sink in context.sinks
        if (state := _sink_state(context.store, sink, segments, last_seq, problems)) is not None
    ]
    for state in states:
        if state.waiting_since is not None and context.now - state.waiting_since > _LAG_ALLOWED:
            late = duration_text(context.now - state.waiting_since)
            problems.append(
                f"sink {state.sink} is {state.lag_records} records and {late} behind; is "
                "the agent running, and the sink up?"
            )
    return LogState(
        str(log),
        directory,
        len(segments),
        sum("" not in segment.forms for segment in segments),
        sum(segment.size_bytes for segment in segments),
        None if first is None else first.seq,
        last_seq,
        last_at,
        _per_minute(segments[-1], context.now),
        _states(context, log, segments),
        tuple(states),
        tuple(problems),
    )


def _missing(inventory: Inventory, log: LogId, hosts: Collection[str] | None) -> list[str]:
    """The segments that are gone without a tombstone; those are read only where a name lacks."""
    directory = inventory.directory
    names = [segment.name for segment in inventory.logs[log]]
    found = gaps(names, known_head(directory, log))
    if not found:
        return []
    tombstones = tombstones_in(inventory.logs, hosts)
    deleted = {stone.segment for stone in tombstones if stone.log == str(log)}
    return [
        f"{gap} is gone and no tombstone says why; run auditctl verify {directory}."
        for gap in found
        if not gap.proven(deleted)
    ]


def _per_minute(newest: SegmentFile, now: dt.datetime) -> float:
    """From the timestamps at the end of the active segment; 0 where it is compressed."""
    if "" not in newest.forms:
        return 0.0
    try:
        with newest.form_path("").open("rb") as file:
            file.seek(max(0, newest.size_bytes - _RATE_BYTES))
            lines = file.read().split(b"\n")
    except OSError:  # told where the segment's ends are read
        return 0.0
    since = format_timestamp(now - _RATE_SPAN)
    headers = [header for line in lines if (header := parse_header(line + b"\n")) is not None]
    recent = [header.timestamp for header in headers if header.timestamp >= since]
    if len(recent) < len(headers) or len(recent) < _MIN_RATE_RECORDS:
        return len(recent) / (_RATE_SPAN / dt.timedelta(minutes=1))
    span = max(now - parse_timestamp(min(recent)), dt.timedelta(seconds=1))
    return len(recent) / (span / dt.timedelta(minutes=1))


def _states(context: _Context, log: LogId, segments: tuple[SegmentFile, ...]) -> dict[str, int]:
    """Each segment by what keeps it; by names, cursors and holds alone."""
    unshipped = _first_unshipped(context, log)
    states = dict.fromkeys(("active", "held", "not_shipped", "compressed", "plain"), 0)
    for segment in segments:
        day = dt.datetime.combine(segment.name.day, dt.time(), dt.UTC)
        if segment is segments[-1]:
            state = "active"
        elif any(hold.covers(str(log), day, day + _DAY) for hold in context.holds):
            state = "held"
        elif unshipped is not None and segment.name >= unshipped:
            state = "not_shipped"
        else:
            state = "plain" if "" in segment.forms else "compressed"
        states[state] += 1
    return states


def _first_unshipped(context: _Context, log: LogId) -> SegmentName | None:
    """The oldest segment that some sink has not wholly acknowledged; None: there is no sink."""
    beginning = SegmentName(log, dt.date.min, 1)
    names = []
    for sink in context.sinks:
        try:
            cursor = context.store.load(sink, log)
            names.append(SegmentName.parse(cursor.segment) if cursor is not None else beginning)
        except AuditLogError:  # reported with the sink; nothing is shipped then
            names.append(beginning)
    return min(names, default=None)


def _holds(
    state_dir: Path, directories: Sequence[Path], now: dt.datetime, problems: list[str]
) -> list[Hold]:
    try:
        store = HoldStore(state_dir, recorded_holds(directories))
        problems += store.differences()
        return [hold for hold in store.load() if hold.in_force(now)]
    except (AuditLogError, OSError) as error:
        problems.append(str(error))
        return []


def _sink_state(
    store: CursorStore,
    sink: str,
    segments: tuple[SegmentFile, ...],
    last_seq: int | None,
    problems: list[str],
) -> SinkState | None:
    try:
        cursor = store.load(sink, segments[0].name.log)
    except AuditLogError as error:
        problems.append(f"sink {sink}: {error.reason}. {error.hint}")
        return None
    if last_seq is None:
        return None
    if cursor is None:
        header = _header_at(segments[0], 0)
        have = 0 if header is None else header.seq - 1
    else:
        have = cursor.seq
        header = None
        if have < last_seq:
            header = _next_header(segments, cursor.segment, cursor.offset)
    if have > last_seq:
        problems.append(
            f"sink {sink} has records up to {have}, the files end at {last_seq}; restore what is "
            "missing, then run auditctl verify."
        )
    return SinkState(
        sink,
        have,
        max(0, last_seq - have),
        None if header is None or have >= last_seq else parse_timestamp(header.timestamp),
    )


def _next_header(segments: tuple[SegmentFile, ...], name: str, offset: int) -> Header | None:
    """The record after a cursor: in its segment, or the first one of the segment after it."""
    for index, segment in enumerate(segments):
        if segment.name.logical == name:
            following = segments[index + 1 : index + 2]
            return _header_at(segment, offset) or (
                _header_at(following[0], 0) if following else None
            )
    return _header_at(segments[0], 0)


def _header_at(segment: SegmentFile, offset: int) -> Header | None:
    stream, path = open_any_form(segment)
    with stream:
        if path.name == segment.name.logical:
            stream.seek(offset)
        elif offset:
            return None  # compressed segments were shipped; only the successor can be next
        _, line = next(iter_lines(stream, offset, path=path), (0, b""))
    return parse_header(line)


def _last_retention(state_dir: Path, directory: Path, problems: list[str]) -> dt.datetime | None:
    try:
        last = RunStore(state_dir).load(directory)
    except AuditLogError as error:
        problems.append(str(error))
        return None
    return None if last is None else last.at


def _quarantined(state_dir: Path, sinks: Sequence[str]) -> list[tuple[str, int]]:
    counts = []
    for sink in sinks:
        try:
            with (state_dir / "quarantine" / f"{sink}.ndjson").open("rb") as file:
                counts.append(
                    (
                        sink,
                        sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b"")),
                    )
                )
        except FileNotFoundError:
            counts.append((sink, 0))
    return counts
