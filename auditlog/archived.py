"""Remember which segments an archive holds; the archiver writes it, retention reads it.

    <state_dir>/archive.sqlite      a row for each segment, and for each manifest

A row is written before its upload begins and again when the archive has answered, so that after a
crash it is known which uploads may have happened.  SQLite makes each change durable.

Invariants (tests of the same name in tests/auditlog/test_archived.py):
  round_trip   what was stored is given back, also to another process
  in_order     a segment counts as archived only when the archive and the record have it
  damaged      a file that is no such memory raises ArchiveMemoryDamaged, and is left as it is
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import orjson

from auditlog import durable_fs
from auditlog.errors import ArchiveMemoryDamaged
from auditlog.format.record import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = [
    "ArchiveMemory",
    "ArchivedManifest",
    "ArchivedObject",
    "ArchivedSpan",
    "ArchivedTotals",
    "archived_in",
]

_BEGUN: Final = 0
_STORED: Final = 1
_RECORDED: Final = 2

_IN_JSON: Final = {"str": str, "int": int, "dt.datetime": str}
"""The JSON type of a field, by its annotation."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS objects (
    log TEXT NOT NULL, segment TEXT NOT NULL, state INTEGER NOT NULL, manifest INTEGER,
    object TEXT NOT NULL, PRIMARY KEY (log, segment)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS open_objects ON objects (state) WHERE manifest IS NULL;
CREATE TABLE IF NOT EXISTS manifests (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL, content BLOB NOT NULL, version TEXT
);
"""


class ArchivedTotals(NamedTuple):
    """The objects in the archive: their number and bytes, and when the newest was uploaded."""

    objects: int
    size_bytes: int
    newest_at: dt.datetime | None


class ArchivedSpan(NamedTuple):
    """The records of an archived segment: first and last number, and the hash of the last."""

    first_seq: int
    last_seq: int
    last_hash: str


@dataclass(frozen=True, slots=True)
class ArchivedObject:
    """One segment in the archive.

    version          the archive's id of these bytes under the key
    size_bytes, sha256    of the object, as it is stored
    checksum         SHA-256 as the server checked and returns it (of the parts' hashes, and with
                     their number behind it, for an upload in parts)
    content_bytes    of the segment's uncompressed content
    first_seq, last_seq, last_hash    its records; 0 and "" when its two ends cannot be read
    mode, retain_until    the lock that was asked for
    """

    log: str
    segment: str
    key: str
    version: str
    size_bytes: int
    sha256: str
    checksum: str
    content_bytes: int
    first_seq: int
    last_seq: int
    last_hash: str
    mode: str
    retain_until: dt.datetime
    at: dt.datetime

    def to_json(self) -> dict[str, Any]:
        instants = {name: format_timestamp(getattr(self, name)) for name in ("retain_until", "at")}
        return {**asdict(self), **instants}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> ArchivedObject:
        """The reverse of to_json.  Raises ValueError for what is none."""
        own = {field.name: found.get(field.name) for field in fields(cls)}
        if any(type(own[field.name]) is not _IN_JSON[str(field.type)] for field in fields(cls)):
            raise ValueError("it is not an object of an archive")
        instants = {name: parse_timestamp(str(own[name])) for name in ("retain_until", "at")}
        return cls(**{**own, **instants})  # type: ignore[arg-type]  # checked above


@dataclass(frozen=True, slots=True)
class ArchivedManifest:
    """A manifest that was made; ``version`` is None until the archive has it."""

    number: int
    at: dt.datetime
    content: bytes
    version: str | None


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, ValueError) as error:
        raise ArchiveMemoryDamaged(
            f"the memory of the archive cannot be used ({error})",
            path=path,
            hint="Free disk space, or put it back from a copy. Without it everything is uploaded"
            " again, and the agent needs permission to read what the bucket has already.",
        ) from error


class ArchiveMemory:
    """The memory of one archiver.  Used by one thread at a time.

    With ``read_only`` nothing is written, and where there is no memory it is an empty one.  Raises
    ArchiveMemoryDamaged, OSError; so does every method.
    """

    def __init__(self, state_dir: Path, *, read_only: bool = False) -> None:
        self.path = state_dir / "archive.sqlite"
        if not read_only:
            durable_fs.make_directory(state_dir)
        elif not self.path.exists():
            self._database = sqlite3.connect(":memory:", isolation_level=None)
            self._database.executescript(_SCHEMA)
            return
        with _told(self.path):
            self._database = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
            if not read_only:
                self._database.execute("PRAGMA synchronous = FULL")
                self._database.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def begin(self, begun: ArchivedObject) -> None:
        """Remember that this object is about to be uploaded; its version is not known yet."""
        self._put(begun, _BEGUN)

    def store(self, stored: ArchivedObject) -> None:
        """Remember that the archive has it, under its version."""
        self._put(stored, _STORED)

    def record(self, recorded: ArchivedObject) -> None:
        """Remember that the object stands in the chain, too; from now on it counts as archived."""
        self._put(recorded, _RECORDED)

    def forget(self, begun: ArchivedObject) -> None:
        """Forget an upload that is known not to have happened."""
        with _told(self.path):
            self._database.execute(
                "DELETE FROM objects WHERE log = ? AND segment = ? AND state = 0",
                (begun.log, begun.segment),
            )

    def begun(self, log: str, segment: str) -> ArchivedObject | None:
        """The upload that was begun, and of which nothing else is known."""
        return next(self._objects("log = ? AND segment = ? AND state = 0", log, segment), None)

    def archived(self) -> Iterator[ArchivedObject]:
        """Yield everything that counts as archived."""
        yield from self._objects("state = 2")

    def unrecorded(self) -> list[ArchivedObject]:
        """The objects that the archive has and no record names."""
        return list(self._objects("state = 1 AND manifest IS NULL"))

    def unlisted(self, limit: int) -> list[ArchivedObject]:
        """The oldest archived objects that no manifest names, at most so many."""
        return list(self._objects(f"state = 2 AND manifest IS NULL LIMIT {limit:d}"))

    def has(self, log: str) -> set[str]:
        """The segments of a log that the archive has."""
        with _told(self.path):
            found = self._database.execute(
                "SELECT segment FROM objects WHERE log = ? AND state > 0", (log,)
            )
            return {segment for (segment,) in found}

    def totals(self) -> ArchivedTotals:
        with _told(self.path):
            count, size, newest = self._database.execute(
                "SELECT count(*), coalesce(sum(json_extract(object, '$.size_bytes')), 0),"
                " max(json_extract(object, '$.at')) FROM objects WHERE state > 0"
            ).fetchone()
            return ArchivedTotals(int(count), int(size), newest and parse_timestamp(newest))

    def newest_manifest(self) -> ArchivedManifest | None:
        return self._manifest("ORDER BY number DESC LIMIT 1")

    def make_manifest(self, made: ArchivedManifest, listed: list[ArchivedObject]) -> None:
        """Keep a manifest before it is uploaded, with the objects that it lists."""
        with _told(self.path), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute(
                "INSERT INTO manifests VALUES (?, ?, ?, NULL)",
                (made.number, format_timestamp(made.at), made.content),
            )
            self._database.executemany(
                "UPDATE objects SET manifest = ? WHERE log = ? AND segment = ?",
                [(made.number, each.log, each.segment) for each in listed],
            )

    def store_manifest(self, number: int, version: str) -> None:
        """Remember that the archive has it.  The content of the one before is not needed now."""
        with _told(self.path), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute(
                "UPDATE manifests SET version = ? WHERE number = ?", (version, number)
            )
            self._database.execute("DELETE FROM manifests WHERE number < ?", (number,))

    def adopt(self, archived: Iterable[ArchivedObject], newest: ArchivedManifest | None) -> None:
        """Take over what the manifests of a machine that is gone say, up to the newest of them."""
        with _told(self.path), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            for each in archived:
                self._database.execute(
                    "INSERT OR REPLACE INTO objects VALUES (?, ?, 2, 0, ?)",
                    (each.log, each.segment, orjson.dumps(each.to_json()).decode()),
                )
            if newest is not None:
                self._database.execute(
                    "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?)",
                    (newest.number, format_timestamp(newest.at), newest.content, newest.version),
                )

    def _put(self, each: ArchivedObject, state: int) -> None:
        with _told(self.path):
            self._database.execute(
                "INSERT INTO objects VALUES (?, ?, ?, NULL, ?) ON CONFLICT (log, segment)"
                " DO UPDATE SET state = excluded.state, object = excluded.object",
                (each.log, each.segment, state, orjson.dumps(each.to_json()).decode()),
            )

    def _objects(self, condition: str, *values: str) -> Iterator[ArchivedObject]:
        with _told(self.path):
            for (text,) in self._database.execute(
                f"SELECT object FROM objects WHERE {condition}",  # noqa: S608  (ours, no input)
                values,
            ):
                yield ArchivedObject.from_json(orjson.loads(text))

    def _manifest(self, which: str) -> ArchivedManifest | None:
        with _told(self.path):
            row = self._database.execute(f"SELECT * FROM manifests {which}").fetchone()  # noqa: S608  (as above)
            if row is None:
                return None
            number, at, content, version = row
            return ArchivedManifest(number, parse_timestamp(at), bytes(content), version)


def archived_in(state_dir: Path) -> dict[str, dict[str, ArchivedSpan]]:
    """The archived segments of each log, by name.

    Reads only.  Nothing is archived where there is no memory.  Raises ArchiveMemoryDamaged.
    """
    found: dict[str, dict[str, ArchivedSpan]] = {}
    with ArchiveMemory(state_dir, read_only=True) as memory:
        for each in memory.archived():
            span = ArchivedSpan(each.first_seq, each.last_seq, each.last_hash)
            found.setdefault(each.log, {})[each.segment] = span
    return found
