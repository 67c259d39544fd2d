"""Valid logs on disk, made from record.seal alone: no clock, no writer.

    written = write_log(tmp_path, records=10, segments=3)
    written.lines          every line, with its LF, in order
    written.paths          the segments' paths, in order
    written.compress(0)    segment 0 becomes .zst, as retention leaves it

For logs that grow during a test use LogBuilder itself.
"""

from __future__ import annotations

import datetime as dt
import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import zstandard

from auditlog.format.record import (
    GENESIS_HASH,
    Header,
    format_timestamp,
    log_prefix,
    parse_header,
    seal,
)
from auditlog.format.segment_names import LogId, SegmentName

__all__ = ["START", "LogBuilder", "make_line", "write_log"]

START = dt.datetime(2026, 11, 23, 7, 12, tzinfo=dt.UTC)


def make_line(
    log: str,
    seq: int,
    prev_hash: str = GENESIS_HASH,
    *,
    at: dt.datetime = START,
    event_type: str = "task_submitted",
    details: dict[str, Any] | None = None,
    **fields: Any,
) -> tuple[bytes, str]:
    """One valid line (with its LF) and its hash."""
    name = LogId.parse(log)
    body: dict[str, Any] = {
        "event_type": event_type,
        "service": name.service,
        "host": name.host,
        "actor": {"user_id": "alice", "ip": "192.0.2.7", "auth_method": "bearer_token"},
        "outcome": "success",
        "severity": "info",
        **fields,
        "details": details if details is not None else {"task_id": f"task-{seq}"},
    }
    return seal(log_prefix(log), seq, prev_hash, format_timestamp(at), orjson.dumps(body)[1:-1])


@dataclass
class LogBuilder:
    """A log that grows: append records, rotate, compress.  Every record is ``step`` later."""

    directory: Path
    log: str = "queen-rbee@hive1"
    at: dt.datetime = START
    step: dt.timedelta = dt.timedelta(seconds=1)
    seq: int = 0
    hash: str = GENESIS_HASH
    lines: list[bytes] = field(default_factory=list)
    names: list[SegmentName] = field(default_factory=list)

    @property
    def headers(self) -> list[Header]:
        return [header for line in self.lines if (header := parse_header(line)) is not None]

    @property
    def paths(self) -> list[Path]:
        """The plain form of every segment so far; see ``path`` for the form that is there."""
        return [self.directory / name.logical for name in self.names]

    @property
    def active(self) -> Path:
        return self.paths[-1]

    def path(self, index: int) -> Path:
        """The segment in the form it has now."""
        plain = self.paths[index]
        for form in ("", ".zst", ".gz"):
            candidate = plain.with_name(plain.name + form)
            if candidate.exists():
                return candidate
        raise FileNotFoundError(plain)

    def make(self, count: int = 1, **fields: Any) -> list[bytes]:
        """The next lines of the chain, which are not written anywhere yet."""
        made = []
        for _ in range(count):
            line, self.hash = make_line(self.log, self.seq + 1, self.hash, at=self.at, **fields)
            self.seq += 1
            self.at += self.step
            made.append(line)
        return made

    def append(self, count: int = 1, **fields: Any) -> list[bytes]:
        """Write records to the active segment; one of another day opens a new segment.

        Those of a segment are written at once, so that whoever follows it reads them together.
        """
        written: list[bytes] = []
        of_segment: list[bytes] = []
        for _ in range(count):
            day = self.at.date()
            if not self.names or self.names[-1].day != day:
                self._write(of_segment)
                of_segment = []
                self._open(day, 1)
            of_segment += self.make(1, **fields)
            written += of_segment[-1:]
        self._write(of_segment)
        self.lines += written
        return written

    def append_raw(self, data: bytes) -> None:
        """Put bytes behind the active segment, whatever they are."""
        with self.active.open("ab") as file:
            file.write(data)

    def rotate(self, *, days: int = 0) -> None:
        """Go on in a new segment: the day's next part, or part 1 of a later day."""
        if days:
            self.at += dt.timedelta(days=days)
            self._open(self.at.date(), 1)
        else:
            self._open(self.names[-1].day, self.names[-1].part + 1)

    def compress(self, index: int, form: str = ".zst", *, keep_plain: bool = False) -> Path:
        """Give a segment its compressed form; ``keep_plain`` leaves both, as a crash does."""
        plain = self.paths[index]
        target = plain.with_name(plain.name + form)
        content = plain.read_bytes()
        if form == ".zst":
            packed = zstandard.ZstdCompressor(level=3, write_checksum=True).compress(content)
        else:
            packed = gzip.compress(content, mtime=0)
        target.write_bytes(packed)
        if not keep_plain:
            plain.unlink()
        return target

    def _open(self, day: dt.date, part: int) -> None:
        self.names.append(SegmentName(LogId.parse(self.log), day, part))
        self.active.touch(mode=0o600)

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        with self.active.open("ab") as file:
            file.write(b"".join(lines))


def write_log(
    directory: Path,
    log: str = "queen-rbee@hive1",
    *,
    records: int = 10,
    segments: int = 1,
    days: int = 0,
    at: dt.datetime = START,
    step: dt.timedelta = dt.timedelta(seconds=1),
    **fields: Any,
) -> LogBuilder:
    """Write a whole log of ``segments`` segments with ``records`` records in each.

    ``days`` lies between the first records of two segments; 0 makes them parts of one day.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    built = LogBuilder(directory, log, at=at, step=step)
    for index in range(segments):
        if index and days:
            built.at = at + dt.timedelta(days=days) * index
        elif index:
            built.rotate()
        built.append(records, **fields)
    return built
