"""Read records from segments, plain or compressed, even while they change.

Invariants (tests of the same name in tests/auditlog/reading/test_reader.py):
  all_forms   plain, .zst and .gz give the same lines
  whole       a line comes whole; only the last line of a stream can lack its LF
  bounded     memory does not grow with the size of a segment
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from auditlog import durable_fs
from auditlog.errors import AuditLogError, LogDamaged
from auditlog.format.record import MAX_RECORD_BYTES, Record, decode
from auditlog.format.segment_names import COMPRESSIONS, SegmentName
from auditlog.reading.decompression import NotWhole, unpacked
from auditlog.reading.inventory import SegmentFile, scan

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

__all__ = [
    "Bounds",
    "bounds",
    "iter_lines",
    "open_any_form",
    "open_segment",
    "records_of",
    "segments_of",
]

_CHUNK_BYTES: Final = 1 << 18
_END_BYTES: Final = MAX_RECORD_BYTES + 1  # holds one whole line of the largest size


def open_segment(path: str | os.PathLike[str], compression: str | None = None) -> io.BufferedReader:
    """Open a segment for reading its uncompressed bytes.

    ``compression`` is "", ".zst" or ".gz"; None: the name says it.  A symlink is refused (ELOOP).
    Raises OSError; reading raises NotWhole where compressed bytes are not.
    """
    path = Path(path)
    raw = os.fdopen(durable_fs.open_read(path), "rb", buffering=0)
    return unpacked(raw, path.suffix if compression is None else compression)


def open_any_form(segment: SegmentFile) -> tuple[io.BufferedReader, Path]:
    """Open the segment in the form that exists now.

    Retention may replace the plain file by a compressed one between listing and opening.
    Raises FileNotFoundError when no form is left.
    """
    for form in (segment.name.compression, *COMPRESSIONS):
        path = segment.form_path(form)
        try:
            return open_segment(path), path
        except FileNotFoundError:
            continue
    raise FileNotFoundError(2, os.strerror(2), str(segment.form_path("")))


def iter_lines(
    stream: BinaryIO, offset: int = 0, *, path: Path | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line) from the position of the stream, whose offset is ``offset``.

    Lines include their LF; the bytes after the last LF are a line without one.  A line of more than
    256 KiB, which cannot be a record, is yielded without a part of its middle.  Raises LogDamaged,
    naming ``path``, when compressed bytes cannot be decompressed.
    """
    rest, left_out = b"", 0
    for chunk in _chunks(stream, path):
        block = rest + chunk
        *lines, rest = block.split(b"\n")
        for line in lines:
            yield offset, line + b"\n"
            offset += left_out + len(line) + 1
            left_out = 0
        if len(rest) > _CHUNK_BYTES:
            left_out += len(rest) - _CHUNK_BYTES
            rest = rest[:_CHUNK_BYTES]
    if rest:
        yield offset, rest


def _chunks(stream: BinaryIO, path: Path | None) -> Iterator[bytes]:
    try:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
    except NotWhole as error:
        raise LogDamaged(
            f"the compressed segment cannot be decompressed ({error})",
            path=path,
            hint="Restore it from a copy, or from the index.",
        ) from error


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first and the last whole record of a segment."""

    first_seq: int
    first_prev_hash: str
    first_at: dt.datetime
    last_seq: int
    last_hash: str
    last_at: dt.datetime

    @property
    def records(self) -> int:
        return self.last_seq - self.first_seq + 1


def bounds(segment: SegmentFile) -> Bounds | None:
    """Read the two ends of a segment; None when it holds no whole line.

    Only the ends of a plain file are read; a compressed one is decompressed once, streaming.
    Raises LogDamaged when one of the two lines is not an intact record, OSError as it comes.
    """
    stream, path = open_any_form(segment)
    with stream:
        if path.name == segment.name.logical:
            head, tail, tail_offset = _ends_of_plain(stream)
        else:
            head, tail, tail_offset = _ends_of_compressed(stream, path)
    end = tail.rfind(b"\n") + 1
    if end == 0 and tail_offset > 0:
        raise LogDamaged(
            "no line ends within its last bytes",
            path=path,
            offset=tail_offset,
            hint="Run auditctl verify on the directory.",
        )
    if end == 0:
        return None
    begin = tail.rfind(b"\n", 0, end - 1) + 1
    first = decode(head[: head.find(b"\n") + 1], path=path, offset=0)
    last = decode(tail[begin:end], path=path, offset=tail_offset + begin)
    return Bounds(first.seq, first.prev_hash, first.at, last.seq, last.hash, last.at)


def _ends_of_plain(stream: BinaryIO) -> tuple[bytes, bytes, int]:
    head = stream.read(_END_BYTES)
    size = stream.seek(0, os.SEEK_END)
    start = max(0, size - 2 * _END_BYTES)  # a torn last line, and the whole one before it
    stream.seek(start)
    return head, stream.read(size - start), start


def _ends_of_compressed(stream: BinaryIO, path: Path) -> tuple[bytes, bytes, int]:
    head = tail = b""
    size = 0
    for chunk in _chunks(stream, path):
        if len(head) < _END_BYTES:
            head += chunk
        tail = tail[-2 * _END_BYTES :] + chunk
        size += len(chunk)
    return head, tail, size - len(tail)


def segments_of(path: str | os.PathLike[str]) -> tuple[SegmentFile, ...]:
    """The segments at a path: one file, or all of a directory, log by log.

    Raises AuditLogError when the path is neither, OSError as it comes.
    """
    path = Path(path)
    if path.is_dir():
        return tuple(segment for log in scan(path).logs.values() for segment in log)
    size = path.stat().st_size
    name = SegmentName.parse(path.name)
    return (SegmentFile(name, path.parent, size, (name.compression,)),)


def records_of(segment: SegmentFile, *, last: bool) -> Iterator[Record]:
    """Yield the records of a segment; a torn tail of the ``last`` one of a log ends it.

    Each record's hash is checked, not the chain between records (see verify).  Raises LogDamaged at
    a line that is not an intact record.
    """
    try:
        stream, form = open_any_form(segment)
    except FileNotFoundError as error:
        raise AuditLogError(
            "the segment was deleted while it was about to be read",
            path=segment.path,
            hint="Read again.",
        ) from error
    with stream:
        for offset, line in iter_lines(stream, path=form):
            if last and not line.endswith(b"\n"):
                return
            yield decode(line, path=form, offset=offset)
