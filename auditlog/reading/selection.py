"""Read or follow records by time and type, from one log or several merged.

    for record in auditlog.read("audit", since="2026-11-23T07:00:00Z", types="auth_*"):
        print(record.at, record.actor, record.details)

Each record's hash is checked; the chain between records is verify's work.

Invariants (tests of the same name in tests/auditlog/reading/test_selection.py):
  selected   the records are those of a loop over all of them with the same conditions
  followed   with follow each record comes once, through rotation
"""

from __future__ import annotations

import datetime as dt
import heapq
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NoReturn

from auditlog.errors import InvalidOption, LogDamaged, reading
from auditlog.format.record import Record, format_timestamp
from auditlog.format.segment_names import LogId
from auditlog.reading.event_record import EventRecord
from auditlog.reading.follow import Follower
from auditlog.reading.inventory import SegmentFile
from auditlog.reading.reader import records_of, segments_of

__all__ = ["read"]

_POLL_SECONDS: Final = 0.25


def read(
    path: str | os.PathLike[str],
    *,
    since: dt.datetime | str | None = None,
    until: dt.datetime | str | None = None,
    types: str | Iterable[str] | None = None,
    merged: bool = False,
    follow: bool = False,
    log_events: bool = False,
) -> Iterator[EventRecord]:
    """Iterate over the records of a segment, or of every log in a directory.

    since, until   from this time (included) to that (excluded): aware datetimes, or ISO 8601
    types          event types, in which * stands for anything: "auth_*"
    merged         in the order of time over all logs, instead of one log after another
    follow         go on with what is written from now on, in the order of time; never ends
    log_events     True: also what a log records about itself (log.opened, ...), which otherwise
                   come only where ``types`` names them

    A torn tail of a newest segment ends its log.  Raises LogDamaged at a line that is not an intact
    record, InvalidOption for a time that cannot be one, NotAccessible (an OSError).

    >>> sum(1 for _ in read("/var/log/llama-orch/audit", types="auth_*"))  # doctest: +SKIP
    """
    begin, end = _text("since", since, ""), _text("until", until, "~")
    patterns = None if types is None else (types,) if isinstance(types, str) else tuple(types)

    own = log_events or any(pattern.startswith("log.") for pattern in patterns or ())

    def wanted(record: Record) -> bool:
        header = record.header
        return (
            begin <= header.timestamp < end
            and (own or not header.event_type.startswith("log."))
            and (
                patterns is None
                or any(fnmatchcase(header.event_type, pattern) for pattern in patterns)
            )
        )

    records = _records(Path(path), begin[:10], end[:10], wanted, merged=merged, follow=follow)
    return _reported(Path(path), records)


def _reported(path: Path, records: Iterator[EventRecord]) -> Iterator[EventRecord]:
    with reading(path):
        yield from records


def _records(
    path: Path,
    first_day: str,
    last_day: str,
    wanted: Callable[[Record], bool],
    *,
    merged: bool,
    follow: bool,
) -> Iterator[EventRecord]:
    follower = Follower((path,), _damaged) if follow else None
    if follower is not None:
        follower.newest(0)  # from here on; what is written meanwhile is told apart by its number
    last_seq: dict[str, int] = {}
    segments: dict[LogId, list[SegmentFile]] = defaultdict(list)
    newest: dict[LogId, SegmentFile] = {}
    for segment in segments_of(path):
        newest[segment.name.log] = segment
        if first_day <= segment.name.day.isoformat() <= last_day:
            segments[segment.name.log].append(segment)
    logs = [_log(found, newest[log]) for log, found in segments.items()]
    existing = heapq.merge(*logs, key=_order) if merged else (each for log in logs for each in log)
    for record in existing:
        last_seq[record.log] = record.seq
        if wanted(record):
            yield EventRecord(record.line, record.header)
    while follower is not None:
        for record in follower.poll():
            if record.seq > last_seq.get(record.log, 0) and wanted(record):
                yield EventRecord(record.line, record.header)
        time.sleep(_POLL_SECONDS)


def _log(segments: Iterable[SegmentFile], newest: SegmentFile) -> Iterator[Record]:
    for segment in segments:
        yield from records_of(segment, last=segment is newest)


def _text(name: str, at: dt.datetime | str | None, absent: str) -> str:
    """The time as records have it, which compare as texts.  Raises InvalidOption."""
    if at is None:
        return absent
    try:
        parsed = dt.datetime.fromisoformat(at) if isinstance(at, str) else at
        if parsed.tzinfo is not None:
            return format_timestamp(parsed)
    except (ValueError, AttributeError):
        pass  # refused below, as a time without a zone
    raise InvalidOption(
        f"{name} is not a time with a time zone", hint="Write it like 2026-11-23T07:12:00Z."
    )


def _damaged(segment: str, offset: int) -> NoReturn:
    raise LogDamaged(
        "the line is not a record",
        path=segment,
        offset=offset,
        hint="Run auditctl verify on the directory.",
    )


def _order(record: Record) -> tuple[str, str, int]:
    return record.header.timestamp, record.log, record.seq
