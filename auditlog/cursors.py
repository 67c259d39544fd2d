"""How far a sink has durably acknowledged a log: written by shippers, read by retention.

    <state_dir>/cursors/<sink>/<log>.cursor         the newest
    <state_dir>/cursors/<sink>/<log>.cursor.prev    the one before

A cursor file is one line of JSON, a space, and the CRC-32 of that JSON in hex.  It is replaced by
write, fsync, rename, directory fsync, so that a crash leaves the old or the new one.

Invariants (tests of the same name in tests/auditlog/test_cursors.py):
  round_trip   load gives back what save was given
  torn         with the newest file cut or changed at any byte, load gives the one before
  both_gone    two unreadable files raise CursorDamaged, none at all is None
"""

from __future__ import annotations

import datetime as dt
import re
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from auditlog import _fs
from auditlog.errors import CursorDamaged, InvalidName
from auditlog.record import format_timestamp, parse_timestamp
from auditlog.segment_names import LogId

__all__ = ["Cursor", "CursorStore"]

_SINK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LOG: Final = re.compile(r"[^./\0][^/\0]{0,219}")
_SUFFIX: Final = ".cursor"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to and including ``seq`` has a final, durable outcome at the sink.

    ``segment`` is the logical (plain) name of the segment that holds the record, ``offset`` the
    byte after its LF in the uncompressed segment, ``hash`` its hash; ``at`` when it was written.
    """

    log: str
    segment: str
    offset: int
    seq: int
    hash: str
    at: dt.datetime

    def __post_init__(self) -> None:
        if self.offset < 0 or self.seq < 0:
            raise ValueError(f"offset {self.offset} and seq {self.seq} must not be negative")
        if self.at.utcoffset() is None:
            raise ValueError("at must be aware of its time zone")


class CursorStore:
    """The cursors below one state directory."""

    def __init__(self, state_dir: str | Path) -> None:
        self.directory = Path(state_dir) / "cursors"

    def path(self, sink: str, log: LogId | str) -> Path:
        """Where the cursor lies.  Raises InvalidName for a sink or log that is no file name."""
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
        path = self.path(sink, log)
        damaged = False
        for candidate in (path, _previous(path)):
            try:
                cursor = _decode(candidate.read_bytes())
            except FileNotFoundError:
                continue
            except ValueError:
                damaged = True
                continue
            if cursor.log == str(log):
                return cursor
            damaged = True
        if damaged:
            raise CursorDamaged(
                "neither the cursor nor its previous copy can be read",
                path=path,
                hint="Remove both files to ship the log from its beginning; nothing is doubled.",
            )
        return None

    def save(self, sink: str, cursor: Cursor) -> None:
        """Make the cursor durable, keeping the one before.  Raises OSError."""
        path = self.path(sink, cursor.log)
        _fs.make_directory(path.parent)
        _fs.replace_durably(path, _encode(cursor), keep=_previous(path))

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


def _encode(cursor: Cursor) -> bytes:
    body = orjson.dumps({"v": 1, **asdict(cursor), "at": format_timestamp(cursor.at)})
    return b"%b %08x\n" % (body, zlib.crc32(body))


def _decode(text: bytes) -> Cursor:
    body, space, crc = text.removesuffix(b"\n").rpartition(b" ")
    if not space or not text.endswith(b"\n") or crc != b"%08x" % zlib.crc32(body):
        raise ValueError("the checksum does not match")
    fields = orjson.loads(body)
    try:
        if fields.pop("v") != 1:
            raise ValueError("unknown version")
        return Cursor(**{**fields, "at": parse_timestamp(fields["at"])})
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("it is not a cursor of this version") from error
