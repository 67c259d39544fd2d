"""Store how far each sink has durably acknowledged each log.

Shippers write these cursors; retention reads them.

    <state_dir>/cursors/<sink>/<log>.cursor         the newest
    <state_dir>/cursors/<sink>/<log>.cursor.prev    the one before
    <state_dir>/source-cursors/<sink>/<source>.cursor (.prev)   of other sources

Cursors of other sources are kept apart and name their kind, so that none is read as that of a log.

A cursor file is one line of JSON, a space, and the CRC-32 of that JSON in hex.  It is replaced by
write, fsync, rename, directory fsync, so that a crash leaves the old or the new one.

Invariants (tests of the same name in tests/auditlog/test_cursors.py):
  round_trip   load gives back what save was given
  torn         with the newest file cut or changed at any byte, load gives the one before
  both_gone    two unreadable files raise CursorDamaged, none at all is None
  apart        the cursor of a source is never read as that of a log, nor the other way round
"""

from __future__ import annotations

import datetime as dt
import re
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from auditlog import durable_fs
from auditlog.errors import CursorDamaged, InvalidName
from auditlog.format.record import format_timestamp, parse_timestamp
from auditlog.format.segment_names import LogId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Cursor", "CursorStore", "SourceCursor"]

_C = TypeVar("_C")

_SINK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LOG: Final = re.compile(r"[^./\0][^/\0]{0,219}")
_SUFFIX: Final = ".cursor"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to and including ``seq`` has a final, durable outcome at the sink.

    ``segment`` is the logical (plain) name of the segment that holds the record, ``offset`` the
    byte after its LF in the uncompressed segment, ``hash`` its hash; ``at`` when it was written.
    ``gaps`` are exceptions: ranges of numbers (first, last) that were missing in the files when
    they were due.  If their records come back, the sink does not have them.
    ``unverified`` are ranges of records whose id the sink had already and whose hash it would not
    show: they may be those of another host, so retention does not delete ours.
    """

    log: str
    segment: str
    offset: int
    seq: int
    hash: str
    at: dt.datetime
    gaps: tuple[tuple[int, int], ...] = ()
    unverified: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.offset < 0 or self.seq < 0:
            raise ValueError(f"offset {self.offset} and seq {self.seq} must not be negative")
        if self.at.utcoffset() is None:
            raise ValueError("at must be aware of its time zone")


@dataclass(frozen=True, slots=True)
class SourceCursor:
    """The position in a source that is not an audit log; its kind defines ``place`` (JSON)."""

    kind: str
    source: str
    place: Mapping[str, Any]
    at: dt.datetime

    def __post_init__(self) -> None:
        if self.at.utcoffset() is None:
            raise ValueError("at must be aware of its time zone")


class CursorStore:
    """The cursors below one state directory."""

    def __init__(self, state_dir: str | Path) -> None:
        self.directory = Path(state_dir) / "cursors"
        self._source_directory = Path(state_dir) / "source-cursors"

    def path(self, sink: str, log: LogId | str) -> Path:
        """The path of the cursor.  Raises InvalidName for what cannot be a file name."""
        if _SINK.fullmatch(sink) is None:
            raise InvalidName(
                f"the sink name {sink!r} is not usable in a path",
                hint="Letters, digits, dot, underscore and hyphen are allowed, up to 100.",
            )
        if _LOG.fullmatch(str(log)) is None:
            raise InvalidName(f"the log id {str(log)!r} is not usable in a path")
        return self.directory / sink / f"{log}{_SUFFIX}"

    def load(self, sink: str, log: LogId | str) -> Cursor | None:
        """The newest readable cursor, or None when there never was one.

        Raises CursorDamaged when files are there and none can be read; OSError as it comes.
        """
        return _load(
            self.path(sink, log), _decode, lambda cursor: cursor.log == str(log), "the log"
        )

    def save(self, sink: str, cursor: Cursor) -> None:
        """Make the cursor durable, keeping the one before.  Raises OSError."""
        path = self.path(sink, cursor.log)
        durable_fs.make_directory(path.parent)
        durable_fs.replace_durably(path, _encode(cursor), keep=_previous(path))

    def load_source(self, sink: str, kind: str, source: str) -> SourceCursor | None:
        """The newest readable cursor of a source, or None when there never was one.

        Raises CursorDamaged, InvalidName, OSError as ``load`` does.
        """
        return _load(
            self._source_path(sink, source),
            _decode_source,
            lambda cursor: (cursor.kind, cursor.source) == (kind, source),
            "the source",
        )

    def save_source(self, sink: str, cursor: SourceCursor) -> None:
        """Make the cursor durable, keeping the one before.  Raises OSError."""
        path = self._source_path(sink, cursor.source)
        durable_fs.make_directory(path.parent)
        durable_fs.replace_durably(path, _encode_source(cursor), keep=_previous(path))

    def _source_path(self, sink: str, source: str) -> Path:
        return self._source_directory / self.path(sink, source).relative_to(self.directory)

    def logs(self, sink: str) -> list[str]:
        """The ids of the logs that have a cursor for the sink, sorted."""
        directory = self.path(sink, "x@x").parent
        if not directory.is_dir():
            return []
        return sorted(
            {
                path.name.removesuffix(".prev").removesuffix(_SUFFIX)
                for path in directory.iterdir()
                if path.name.removesuffix(".prev").endswith(_SUFFIX)
            }
        )

    def sinks(self) -> list[str]:
        """The names of the sinks that ever wrote a cursor here, sorted."""
        if not self.directory.is_dir():
            return []
        return sorted(path.name for path in self.directory.iterdir() if path.is_dir())


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".prev")


def _load(
    path: Path, decode: Callable[[bytes], _C], expected: Callable[[_C], bool], what: str
) -> _C | None:
    damaged = False
    for candidate in (path, _previous(path)):
        try:
            cursor = decode(candidate.read_bytes())
        except FileNotFoundError:
            continue
        except ValueError:
            damaged = True
            continue
        if expected(cursor):
            return cursor
        damaged = True
    if damaged:
        raise CursorDamaged(
            "neither the cursor nor its previous copy can be read",
            path=path,
            hint=f"Remove both files to ship {what} from its beginning; nothing is doubled.",
        )
    return None


def _encode(cursor: Cursor) -> bytes:
    fields = asdict(cursor)
    if not cursor.unverified:  # programs before 0.2.0 can read the cursor
        del fields["unverified"]
    return _sealed({"v": 1, **fields, "at": format_timestamp(cursor.at)})


def _decode(text: bytes) -> Cursor:
    fields = _opened(text)
    try:
        ranges = {
            name: tuple((int(first), int(last)) for first, last in fields.get(name, ()))
            for name in ("gaps", "unverified")
        }
        return Cursor(**{**fields, "at": parse_timestamp(fields["at"]), **ranges})
    except (KeyError, TypeError) as error:
        raise ValueError("it is not a cursor of this version") from error


def _encode_source(cursor: SourceCursor) -> bytes:
    fields = {"v": 1, "kind": cursor.kind, "source": cursor.source, "place": dict(cursor.place)}
    return _sealed({**fields, "at": format_timestamp(cursor.at)})


def _decode_source(text: bytes) -> SourceCursor:
    fields = _opened(text)
    try:
        cursor = SourceCursor(**{**fields, "at": parse_timestamp(fields["at"])})
    except (KeyError, TypeError) as error:
        raise ValueError("it is not a cursor of a source") from error
    if not isinstance(cursor.place, dict):
        raise ValueError("it is not a cursor of a source")  # noqa: TRY004  (as for every damage)
    return cursor


def _sealed(fields: dict[str, Any]) -> bytes:
    body = orjson.dumps(fields)
    return b"%b %08x\n" % (body, zlib.crc32(body))


def _opened(text: bytes) -> dict[str, Any]:
    """Check the CRC and parse.  Raises ValueError."""
    body, space, crc = text.removesuffix(b"\n").rpartition(b" ")
    if not space or not text.endswith(b"\n") or crc != b"%08x" % zlib.crc32(body):
        raise ValueError("the checksum does not match")
    fields = orjson.loads(body)
    if not isinstance(fields, dict) or fields.pop("v", None) != 1:
        raise ValueError("unknown version")
    return fields
