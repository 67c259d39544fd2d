"""Read records back from a SQLite sink, even during writes."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from auditlog.format.record import parse_header
from shippers.errors import SchemaTooNew, SinkRefused
from shippers.sinks.read_back import Stored
from shippers.sinks.sqlite.sink import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditlog.format.record import Header

__all__ = ["SqliteReadBack"]

_COLUMNS: Final = "seq, day, at, event_type, hash, line"
_PAGE: Final = 1000
_NAMED: Final = 10


class SqliteReadBack:
    """Reads the file; makes none, and changes nothing.

    Raises SinkRefused when it is not there or no file of ours, SchemaTooNew for a newer one.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._told():
            self._connection = sqlite3.connect(
                f"file:{quote(str(self.path))}?mode=ro", uri=True, timeout=5.0
            )
        try:
            self._check()
        except BaseException:
            self._connection.close()
            raise

    @property
    def address(self) -> str:
        return str(self.path)

    def close(self) -> None:
        self._connection.close()

    def _check(self) -> None:
        with self._told():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version <= SCHEMA_VERSION:
                self._connection.execute("SELECT 1 FROM records LIMIT 1").fetchall()
                return
        raise SchemaTooNew(
            f"its schema is version {version}, this program knows {SCHEMA_VERSION}",
            path=self.path,
            hint="Use the program that wrote it.",
        )

    def refresh(self) -> None:
        """Return at once: SQLite shows committed records immediately."""

    def days(self, log: str) -> list[str]:
        with self._told():
            rows = self._connection.execute(
                "SELECT DISTINCT day FROM records WHERE log = ? ORDER BY day", (log,)
            ).fetchall()
        return [day for (day,) in rows]

    def read(self, log: str, day: str) -> Iterator[Stored]:
        last = -(1 << 63)
        while True:  # in pages, so that no long transaction keeps the write-ahead log from ending
            with self._told():
                rows = self._connection.execute(
                    f"SELECT {_COLUMNS} FROM records WHERE log = ? AND day = ? AND seq > ? "  # noqa: S608  (no input in it)
                    "ORDER BY seq LIMIT ?",
                    (log, day, last, _PAGE),
                ).fetchall()
            for row in rows:
                yield _stored(log, row)
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def fetch(self, headers: Sequence[Header]) -> list[Stored | None]:
        found: list[Stored | None] = []
        with self._told():
            for header in headers:
                row = self._connection.execute(
                    f"SELECT {_COLUMNS} FROM records WHERE log = ? AND seq = ?",  # noqa: S608  (as above)
                    (header.log, header.seq),
                ).fetchone()
                found.append(None if row is None else _stored(header.log, row))
        return found

    def strangers(self) -> tuple[int, list[str]]:
        with self._told():
            rows = self._connection.execute(
                "SELECT log, seq FROM records WHERE log NOT GLOB '*?@?*' LIMIT ?", (_NAMED,)
            ).fetchall()
        return len(rows), [f"{log}:{seq}" for log, seq in rows]

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise SinkRefused(
                f"it cannot be read as the file of a SQLite sink ({error})",
                path=self.path,
                hint="Name a file that `auditctl ship --to` made.",
            ) from error


def _stored(log: str, row: tuple[int, str, str, str, str, object]) -> Stored:
    seq, *columns, line = row
    text = _bytes(line)
    header = parse_header(text)
    fits = header is None or columns == [
        header.day,
        header.timestamp,
        header.event_type,
        header.hash,
    ]
    return Stored(f"{log}:{seq}", seq, text, verbatim=True, misfiled=not fits)


def _bytes(line: object) -> bytes:
    """Return a column as bytes; a tampered file may hold another type there."""
    return line if isinstance(line, bytes) else str(line).encode("utf-8", "surrogateescape")
