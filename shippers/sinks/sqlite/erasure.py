"""Delete erased records from the file of a SQLite sink, and their bytes from its pages.

A deleted row leaves its bytes in the free space of its page, and pages that were split before leave
copies.  VACUUM writes the file anew without them, and the checkpoint empties the write-ahead log.

Invariants (tests of the same name in tests/shippers/sinks/sqlite/test_erasure.py):
  no_trace   neither the file nor what lies beside it holds the erased bytes
  ours       a record of the same id and another hash stays, and is told
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from shippers.sinks.erasure import ANOTHER_RECORD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shippers.sinks.erasure import ErasedRecord

__all__ = ["SqliteErasure"]

_BUSY_SECONDS: Final = 30.0
_DELETE: Final = "DELETE FROM records WHERE log = ? AND seq = ? AND hash = ?"
_LEFT: Final = "SELECT count(*) FROM records WHERE log = ? AND seq = ?"


class SqliteErasure:
    """Erasure in one file; other processes may write and read it meanwhile."""

    def __init__(self, path: Path, *, busy_seconds: float = _BUSY_SECONDS) -> None:
        self._path = path
        self._busy_seconds = busy_seconds

    def erase(self, records: Sequence[ErasedRecord]) -> list[str]:
        if not self._path.exists():
            return []
        try:
            with closing(sqlite3.connect(self._path, timeout=self._busy_seconds)) as connection:
                connection.isolation_level = None
                connection.execute("PRAGMA secure_delete = ON")
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    connection.executemany(_DELETE, [(r.log, r.seq, r.hash) for r in records])
                left = sum(connection.execute(_LEFT, (r.log, r.seq)).fetchone()[0] for r in records)
                # Also where nothing was deleted: a run that was killed may not have come so far.
                connection.execute("VACUUM")
                busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            return [f"not deleted: SQLite: {error}"]
        problems = [f"{ANOTHER_RECORD} ({left} records)"] if left else []
        if busy:
            return [
                *problems,
                "deleted, but a reader keeps the bytes in the write-ahead log; run it again",
            ]
        return problems

    def close(self) -> None:
        """Return at once: no connection is kept open."""
