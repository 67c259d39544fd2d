"""Store a log's signed checkpoints, so that none is ever contradicted.

    <state_dir>/proofs/<log>/checkpoints     one line of JSON each: {"at": …, "note": …}

A checkpoint is durable here before anybody else sees it.  A line that a crash cut off was never
sent, and is cut away.  The same checkpoint is appended again when it has new cosignatures.

Invariants (tests of the same name in tests/auditlog/evidence/test_checkpoint_file.py):
  durable     append returns when the line would survive a power loss
  torn        a file cut at any byte loads as the lines that are whole, and goes on from there
  bounded     the file does not grow without limit, and keeps its newest and its witnessed ones
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from auditlog import durable_fs
from auditlog.evidence.checkpoint import Checkpoint
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.note import Note
from auditlog.format.record import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CheckpointFile", "Signed", "read_checkpoints"]

_KEPT: Final = 500
_LIMIT_BYTES: Final = 2 << 20


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint with the signatures it had ``at`` the time it was noted."""

    at: dt.datetime
    checkpoint: Checkpoint
    note: Note


def read_checkpoints(path: Path) -> tuple[list[Signed], int]:
    """The checkpoints in the file, oldest first, and the bytes they take.

    Raises BadEvidence for a whole line that is none: a crash does not leave such a file; and for a
    file of a size that none of ours has.
    """
    try:
        with path.open("rb") as file:
            data = file.read(2 * _LIMIT_BYTES + 1)
    except FileNotFoundError:
        return [], 0
    if len(data) > 2 * _LIMIT_BYTES:
        raise BadEvidence(
            f"the file is longer than {2 * _LIMIT_BYTES:,} bytes",
            path=path,
            hint="Restore the file from a copy; without it, auditctl evidence restart.",
        )
    found: list[Signed] = []
    end = 0
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        try:
            fields = orjson.loads(line)
            note = Note.parse(fields["note"].encode())
            signed = Signed(parse_timestamp(fields["at"]), Checkpoint.parse(note.text), note)
        except (BadEvidence, KeyError, TypeError, ValueError, AttributeError):
            raise BadEvidence(
                "a line is not a checkpoint",
                path=path,
                offset=end,
                hint="Restore the file from a copy; without it, auditctl evidence restart.",
            ) from None
        found.append(signed)
        end += len(line)
    return found, end


class CheckpointFile:
    """The file of one log, opened by its one signer.  Raises BadEvidence, OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.signed, end = read_checkpoints(path)
        self._size = end
        self.newest: Signed | None = None
        for signed in self.signed:
            self._note_newest(signed)
        if path.exists() and path.stat().st_size > end:
            durable_fs.truncate(path, end)

    def _note_newest(self, signed: Signed) -> None:
        """The largest checkpoint: the last in the file may be an older one, cosigned late."""
        if self.newest is None or signed.checkpoint.size >= self.newest.checkpoint.size:
            self.newest = signed

    def append(self, note: Note, at: dt.datetime) -> Signed:
        """Make it durable."""
        signed = Signed(at, Checkpoint.parse(note.text), note)
        self.signed.append(signed)
        self._note_newest(signed)
        line = _line(signed)
        if self._size + len(line) > _LIMIT_BYTES:
            self._shorten()
            return signed
        new = not self._path.exists()
        fd = (durable_fs.create_exclusive if new else durable_fs.open_append)(self._path)
        try:
            durable_fs.write_all(fd, line)
            durable_fs.fdatasync(fd)
        finally:
            os.close(fd)
        if new:
            durable_fs.fsync_directory(self._path.parent)
        self._size += len(line)
        return signed

    def _shorten(self) -> None:
        """Rewrite the file with the newest checkpoints and the newest cosigned one."""
        cosigned = [each for each in self.signed if len(each.note.signatures) > 1][-1:]
        newest = self.signed[-_KEPT:]
        self.signed = [*(each for each in cosigned if each not in newest), *newest]
        content = b"".join(map(_line, self.signed))
        durable_fs.replace_durably(self._path, content)
        self._size = len(content)


def _line(signed: Signed) -> bytes:
    fields = {"at": format_timestamp(signed.at), "note": signed.note.to_bytes().decode()}
    return orjson.dumps(fields) + b"\n"
