"""Search a SQLite sink, with the same predicate as files.

SQLite chooses by day, log, type and by bytes that an answer must contain; the predicate decides.
The file is opened for reading only and may be written meanwhile.

Invariants (tests of the same name in tests/auditctl/search/test_sinks.py):
  same_answers   a sink that has the records gives the same answers as their files
  read_only      the file stays as it is; SQLite itself may keep a -shm and a -wal beside it
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from auditctl.errors import CommandFailed
from auditlog.errors import LogDamaged
from auditlog.format.record import Record, parse_header
from auditlog.query.needles import ESCAPES, needles
from auditlog.query.predicate import predicate
from auditlog.query.syntax import conjuncts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from auditlog.query.files import Trouble
    from auditlog.query.scope import SearchScope
    from auditlog.query.syntax import Query

__all__ = ["SqliteSearch"]

_BUSY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class SqliteSearch:
    """The file of a sink of kind sqlite."""

    path: Path
    trouble: Trouble

    def records(
        self, query: Query, scope: SearchScope, *, reverse: bool = False
    ) -> Iterator[Record]:
        """The matches in the order of time.  Raises CommandFailed."""
        holds = predicate(query)
        try:
            with contextlib.closing(self._connect()) as connection:
                for line in _lines(connection, query, scope, reverse=reverse):
                    header = parse_header(line)
                    if header is None:
                        self.trouble(str(self.path), 0, "a stored line is not a record")
                        continue
                    record = Record(line, header)
                    try:
                        if scope.since <= header.timestamp < scope.until and holds(record):
                            yield record
                    except LogDamaged:
                        self.trouble(str(self.path), 0, f"{record.log}:{record.seq} is not JSON")
        except sqlite3.Error as error:
            raise CommandFailed(
                f"it cannot be searched ({error})",
                path=self.path,
                hint="Name the SQLite file that `ship --to` or a sink of kind sqlite writes.",
            ) from error

    def _connect(self) -> sqlite3.Connection:
        uri = f"file:{quote(str(self.path))}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)


def _lines(
    connection: sqlite3.Connection, query: Query, scope: SearchScope, *, reverse: bool
) -> Iterator[bytes]:
    logs = [log for log in _values(connection, "log") if scope.has_log(log)]
    days = [day for day in _values(connection, "day") if scope.since[:10] <= day <= scope.until]
    where, values = _conditions(query)
    where += [f"log IN ({', '.join('?' * len(logs))})", "at >= ?", "at < ?"]
    values += [*logs, scope.since, scope.until]
    order = "DESC" if reverse else "ASC"
    statement = (
        f"SELECT line FROM records WHERE day = ? AND {' AND '.join(where)} "  # noqa: S608  (no input in it)
        f"ORDER BY at {order}, log {order}, seq {order}"
    )
    for day in sorted(days, reverse=reverse):
        for (line,) in connection.execute(statement, (day, *values)):
            yield bytes(line)


def _values(connection: sqlite3.Connection, column: str) -> Iterator[str]:
    """The distinct values of an indexed column, each found by one step in the index."""
    statement = f"SELECT min({column}) FROM records WHERE {column} > ?"  # noqa: S608  (no input in it)
    value = ""
    while (row := connection.execute(statement, (value,)).fetchone()) and row[0] is not None:
        value = row[0]
        yield value


def _conditions(query: Query) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    values: list[Any] = []
    for test in conjuncts(query):
        if test.field == "event_type" and test.op == "=":
            where.append("event_type = ?")
            values.append(test.value)
    if necessary := needles(query):
        any_of = (*necessary, *ESCAPES)
        where.append("(" + " OR ".join(["instr(line, ?) > 0"] * len(any_of)) + ")")
        values += any_of
    return where, values
