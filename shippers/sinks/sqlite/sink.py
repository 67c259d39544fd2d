"""Deliver into one SQLite file: embedded, searchable without a server, readable while written.

    records(log, seq, day, at, event_type, hash, line)      primary key (log, seq)
    documents(source, id, day, at, line)                    primary key (source, id)

Write-ahead log with synchronous=FULL: a commit that returned is on disk.  The line is stored as it
is in the file, so a record fetched from here verifies like one from disk.

Invariants (tests of the same name in tests/shippers/sinks/sqlite/test_sink.py):
  readable   another connection reads while this one writes
  newer      a file of a newer schema is refused and not touched
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from auditlog import durable_fs
from shippers.errors import SchemaTooNew, SinkRefused
from shippers.item import Document
from shippers.outcome import DUPLICATE, INDEXED, DeliveryOutcome, quarantined, retry, tampered
from shippers.sources.audit_log.origin import installation_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shippers.item import Item

__all__ = ["SCHEMA_VERSION", "SqliteSink"]

SCHEMA_VERSION: Final = 2
"""PRAGMA user_version of the files this program writes; a newer file is refused."""

_SCHEMA: Final = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS records (
        log TEXT NOT NULL,
        seq INTEGER NOT NULL,
        day TEXT NOT NULL,
        at TEXT NOT NULL,
        event_type TEXT NOT NULL,
        hash TEXT NOT NULL,
        line BLOB NOT NULL,
        PRIMARY KEY (log, seq)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS records_by_day ON records (day, event_type);
    CREATE TABLE IF NOT EXISTS documents (
        source TEXT NOT NULL,
        id TEXT NOT NULL,
        day TEXT NOT NULL,
        at TEXT NOT NULL,
        line BLOB NOT NULL,
        PRIMARY KEY (source, id)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS documents_by_day ON documents (day, source);
    PRAGMA user_version = {SCHEMA_VERSION};
    COMMIT;
"""
_INSERT: Final = "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_DOCUMENT: Final = "INSERT OR IGNORE INTO documents VALUES (?, ?, ?, ?, ?)"
# A log is opened with its first records, and most are again within so many.
_OPENED: Final = """
    SELECT line FROM records WHERE log = :log AND event_type = 'log.opened' AND (seq < 10
    OR seq > (SELECT max(seq) - 10000 FROM records WHERE log = :log))
"""
_BUSY_SECONDS: Final = 5.0
_MAX_INTEGER: Final = (1 << 63) - 1
_PASSING: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

_Row = tuple[Any, ...]


class SqliteSink:
    """A file as a sink.  One writer at a time, so one delivery in flight.

    Raises SchemaTooNew for a file of a newer version, SinkRefused for one that is no SQLite file
    or cannot be opened, OSError when its directory cannot be made.  What goes wrong later is RETRY.
    """

    max_in_flight = 1

    def __init__(self, name: str, path: str | Path) -> None:
        self.name = name
        self.path = Path(path)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        durable_fs.make_directory(self.path.parent)
        try:
            self._connect()
        except sqlite3.Error as error:
            self._drop_connection()
            if error.sqlite_errorcode not in _PASSING:
                raise SinkRefused(
                    f"it cannot be used as a SQLite file ({error})",
                    path=self.path,
                    hint=_hint(error),
                ) from error

    def __repr__(self) -> str:
        return f"SqliteSink({self.name!r}, {str(self.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        return str(self.path)

    def close(self) -> None:
        with self._lock:
            self._drop_connection()

    def deliver(self, items: Sequence[Item]) -> list[DeliveryOutcome]:
        with self._lock:
            try:
                connection = self._connect()
                if (indexed := _insert_all(connection, items)) is not None:
                    return indexed
                outcomes = _insert_each(connection, items)
                self._sync_found()
            except (sqlite3.Error, OSError) as error:
                return [self._failed(error)] * len(items)
        return outcomes

    def installations(self, log: str) -> frozenset[str]:
        with self._lock:
            try:
                rows = self._connect().execute(_OPENED, {"log": log}).fetchall()
            except sqlite3.Error as error:
                self._drop_connection()
                raise SinkRefused(f"SQLite: {error}", path=self.path) from error
        return frozenset(found for (line,) in rows if (found := installation_of(line)))

    def _failed(self, error: sqlite3.Error | OSError) -> DeliveryOutcome:
        self._drop_connection()
        if isinstance(error, OSError):
            return retry(f"the file cannot be synced: {error.strerror}")
        return retry(f"SQLite: {error}", error.sqlite_errorcode)

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        if not self.path.exists():
            # SQLite would make it with the umask's mode; what it makes beside it follows this one.
            try:
                os.close(durable_fs.create_exclusive(self.path))
                durable_fs.fsync_directory(self.path.parent)
            except FileExistsError:
                pass  # another process has created it in the same way
        self._connection = connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            self._drop_connection()
            raise SchemaTooNew(
                f"its schema is version {version}, this program knows {SCHEMA_VERSION}",
                path=self.path,
                hint="Use the program that wrote it, or another file.",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if version < SCHEMA_VERSION:
            connection.executescript(_SCHEMA)
        return connection

    def _sync_found(self) -> None:
        """Sync records that are in the file already: their writer may have been killed in a commit,
        before it synced them.

        Such records are in the write-ahead log alone: SQLite syncs it before it moves anything
        from there into the file itself (sqlite.org/wal.html, Checkpointing).  Raises OSError.
        """
        try:
            durable_fs.sync_content(f"{self.path}-wal")
        except FileNotFoundError:
            return  # the last process to close the file checkpointed all of it
        durable_fs.fsync_directory(self.path.parent)

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _row(item: Item) -> tuple[str, _Row]:
    """The statement that inserts the item, and its values."""
    if isinstance(item, Document):
        return _INSERT_DOCUMENT, (item.source, item.id, item.day, item.at, item.line)
    line, h = item
    assert h is not None  # noqa: S101  (lines without header never reach a sink)
    return _INSERT, (h.log, h.seq, h.timestamp[:10], h.timestamp, h.event_type, h.hash, line)


def _insert_all(
    connection: sqlite3.Connection, items: Sequence[Item]
) -> list[DeliveryOutcome] | None:
    """Insert them in one transaction; None, with a rollback, if one cannot be inserted."""
    rows: dict[str, list[_Row]] = {}
    for item in items:
        statement, row = _row(item)
        rows.setdefault(statement, []).append(row)
    if any(row[1] > _MAX_INTEGER for row in rows.get(_INSERT, ())):
        return None
    with connection:  # commits, or rolls back
        connection.execute("BEGIN IMMEDIATE")
        inserted = [connection.executemany(text, values).rowcount for text, values in rows.items()]
        if sum(inserted) == len(items):
            return [INDEXED] * len(items)
        connection.rollback()
    return None


def _insert_each(connection: sqlite3.Connection, items: Sequence[Item]) -> list[DeliveryOutcome]:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        return [_insert(connection, item) for item in items]


def _insert(connection: sqlite3.Connection, item: Item) -> DeliveryOutcome:
    statement, row = _row(item)
    is_document = isinstance(item, Document)
    if not is_document and row[1] > _MAX_INTEGER:
        return quarantined("the number is beyond what SQLite can store")
    if connection.execute(statement, row).rowcount == 1:
        return INDEXED
    if is_document:
        return DUPLICATE  # the id is made of the content
    (stored,) = connection.execute(
        "SELECT hash FROM records WHERE log = ? AND seq = ?", row[:2]
    ).fetchone()
    return DUPLICATE if stored == row[5] else tampered(stored)


def _hint(error: sqlite3.Error) -> str:
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return "Free some disk space; if there is enough, the system log may say more."
    return "Name a file that this program made, or one that does not exist yet."
