"""Search the logs of a directory from Python, as ``auditctl search`` does.

    for record in auditlog.search("audit", "actor=alice and details.tries>3", since="2d"):
        print(record.at, record.event_type, record.details)

Invariants (tests of the same name in tests/auditlog/query/test_search.py):
  same      the records are those that ``auditctl search`` prints, in its order
  refused   a query, time or path that cannot be used is refused by the call, before any record
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from auditlog.errors import InvalidOption, LogDamaged, PathNotFound, reading
from auditlog.query.files import FileSearch
from auditlog.query.heartbeats import without_heartbeats
from auditlog.query.scope import SearchScope
from auditlog.query.syntax import Query, parse
from auditlog.query.times import parse_time
from auditlog.reading.event_record import EventRecord

__all__ = ["search"]


def search(
    directory: str | os.PathLike[str],
    query: str,
    *,
    logs: str = "*",
    since: dt.datetime | str | None = None,
    until: dt.datetime | str | None = None,
    reverse: bool = False,
    log_events: bool = False,
) -> Iterator[EventRecord]:
    """Iterate over the records of a directory's logs that match a query, in the order of time.

    query          the language of ``auditctl search`` (docs/investigate.md); "" matches all records
    logs           a glob over log ids: "queen-rbee@*"
    since, until   from this time (included) to that (excluded): aware datetimes, or texts as
                   "2026-11-23T07:00:00Z", "yesterday" and "2h" (two hours ago)
    reverse        newest first; then few records are read for the first answers
    log_events     True: also heartbeats, which otherwise come only where the query names them

    Each record's hash is checked; the chain between records is verify's work.  A regular
    expression may take a second of CPU time for one value; in other threads than the main one, it
    is searched for in a process of its own, which can be ended there too.
    Raises QueryError, PathNotFound, InvalidOption for a time without a zone, and while it iterates
    LogDamaged at a line that is not an intact record, NotAccessible (an OSError).

    >>> [hit.seq for hit in search("/var/log/llama-orch/audit", "outcome=denied")]  # doctest: +SKIP
    """
    path = Path(directory)
    if not path.is_dir():
        raise PathNotFound("there is no directory to search", path=path)
    now = dt.datetime.now(dt.UTC)
    scope = SearchScope(logs, _time(since, now), _time(until, now, end=True))
    asked = parse(query) if log_events else without_heartbeats(parse(query))
    return _records(FileSearch((path,), _damaged), asked, scope, reverse=reverse)


def _records(
    files: FileSearch, query: Query, scope: SearchScope, *, reverse: bool
) -> Iterator[EventRecord]:
    with reading(files.directories[0]):
        for record in files.records(query, scope, reverse=reverse):
            yield EventRecord(record.line, record.header)


def _time(
    at: dt.datetime | str | None, now: dt.datetime, *, end: bool = False
) -> dt.datetime | None:
    if isinstance(at, str):
        return parse_time(at, now, end=end)
    if at is not None and (not isinstance(at, dt.datetime) or at.tzinfo is None):
        raise InvalidOption("the time has no time zone", hint="Give an aware datetime, or a text.")
    return at


def _damaged(segment: str, offset: int, reason: str) -> NoReturn:
    raise LogDamaged(
        reason, path=segment, offset=offset, hint="Run auditctl verify on the directory."
    )
