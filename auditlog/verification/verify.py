"""Verify the logs of a directory, or one segment: find changed, removed and reordered records.

Reads files only; needs no key, no lock and no index.  The checking itself is in chain (pure).

Invariants (tests of the same name in tests/auditlog/verification/test_verify.py):
  any_byte      a change of any byte of any complete line makes the report not ok
  deletions     segments deleted under policy, with tombstones, leave the report ok
  flat          memory does not grow with the size of the log
"""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from auditlog.errors import InvalidName, InvalidOption, LogDamaged, NoLog, reading
from auditlog.format.erasures import Erasure, by_stub
from auditlog.format.record import MAX_RECORD_BYTES, Header, parse_header
from auditlog.format.segment_names import LogId
from auditlog.format.tombstones import Tombstone, by_log
from auditlog.reading.head_note import known_head, known_logs
from auditlog.reading.inventory import SegmentFile, scan
from auditlog.reading.reader import iter_lines, open_any_form, segments_of
from auditlog.reading.registry import KnownRecord, forgotten_logs, known_records
from auditlog.reading.tombstone_scan import RETENTION_SERVICE, proofs_in
from auditlog.verification.chain import ChainCheck, Finding
from auditlog.verification.workers import Workers, cuts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from auditlog.format.segment_names import SegmentName

__all__ = ["LogReport", "Report", "compare_with_known_records", "verify", "verify_log"]

SCHEMA = "auditctl.verify/1"
_PACE_LINES: Final = 256


@dataclass(frozen=True, slots=True)
class LogReport:
    """The result for one log.

    ``verified_through_seq`` is the last record before the first finding; ``suspect_records`` are
    the lines from there on.  ``deleted`` are the segments that tombstones account for, ``erased``
    the erasures that account for stubs.  Findings beyond the first thousand are only counted, in
    ``findings_omitted``.
    """

    log: str
    segments: int
    records: int
    first_seq: int | None
    last_seq: int | None
    head_hash: str
    verified_through_seq: int
    suspect_records: int
    findings: tuple[Finding, ...]
    findings_omitted: int
    deleted: tuple[Tombstone, ...]
    erased: tuple[Erasure, ...] = ()
    head_segment: str = ""  # the logical name of the segment that holds the last record

    @classmethod
    def of(cls, check: ChainCheck) -> LogReport:
        """The result of a check that has finished."""
        return cls(
            check.log,
            check.segments,
            check.records,
            check.first_seq,
            check.last_seq,
            check.head_hash,
            check.verified_through_seq,
            check.suspect_records,
            tuple(check.findings),
            check.findings_omitted,
            tuple(check.deleted),
            tuple(check.erased),
            check.head_segment,
        )

    @property
    def ok(self) -> bool:
        return not any(finding.fatal for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "log": self.log,
            "ok": self.ok,
            "segments": self.segments,
            "records": self.records,
            "first_seq": self.first_seq,
            "last_seq": self.last_seq,
            "head_hash": self.head_hash,
            "verified_through_seq": self.verified_through_seq,
            "suspect_records": self.suspect_records,
            "deleted_records": sum(tombstone.records for tombstone in self.deleted),
            "erased_records": len(self.erased),
            "erased": [erasure.to_json() for erasure in self.erased],
            "findings": [
                {
                    "kind": finding.kind,
                    "segment": finding.segment,
                    "line": finding.line,
                    "offset": finding.offset,
                    "seq": finding.seq,
                    "detail": finding.detail,
                }
                for finding in self.findings
            ],
            "findings_omitted": self.findings_omitted,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The result of verify: one LogReport a log, in the order of their ids."""

    logs: tuple[LogReport, ...]

    @property
    def ok(self) -> bool:
        return all(log.ok for log in self.logs)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for log in self.logs for finding in log.findings)

    def to_json(self) -> dict[str, Any]:
        """The object that ``auditctl verify --json`` prints."""
        return {"schema": SCHEMA, "ok": self.ok, "logs": [log.to_json() for log in self.logs]}


def verify(
    path: str | os.PathLike[str],
    *,
    jobs: int = 1,
    known: Sequence[KnownRecord] | None = None,
    retention_hosts: Collection[str] | None = None,
) -> Report:
    """Verify all logs in a directory, or one segment by itself.

    With ``jobs`` of 2 or more so many processes of their own share the work of plain segments; the
    report is the same.
    A single segment may start anywhere in its log; of a directory each log has to be whole, from
    its first record on or from what tombstones account for, up to the furthest record in
    ``known`` (default: what <path>/.auditlog knows; see auditlog.reading.registry).  A deletion is
    believed when retention on the host that the log names recorded it, or on one of
    ``retention_hosts`` (default: on any).  Raises NoLog
    where there is no log, InvalidName for a file that is no segment, InvalidOption,
    NotAccessible (an OSError).
    """
    if jobs < 1:
        raise InvalidOption(f"jobs is {jobs}", hint="Give 1 or more processes.")
    path = Path(path)
    with reading(path), contextlib.ExitStack() as stack:
        workers = stack.enter_context(Workers(jobs)) if jobs > 1 else None
        if not path.is_dir():
            segments = segments_of(path)
            log = segments[0].name.log
            logs = scan(path.parent, f"{RETENTION_SERVICE}@").logs
            erasures = by_stub(proofs_in(logs, retention_hosts).erasures, str(log))
            check = ChainCheck(
                str(log), whole=False, erasures=erasures, retention_hosts=retention_hosts
            )
            return Report((_verify_log(check, segments, None, (), workers=workers)[0],))
        while True:
            seen = known_records(path) if known is None else tuple(known)
            report, vanished = _verify_directory(path, workers, seen, retention_hosts)
            if report.ok or not vanished:
                return report
            # Retention deleted a segment after its tombstone was looked for: look again.


def verify_log(
    directory: Path,
    log: LogId,
    *,
    known: Sequence[KnownRecord] = (),
    pace: Callable[[], None] | None = None,
    retention_hosts: Collection[str] | None = None,
) -> LogReport:
    """Verify one log of a directory; ``known`` and ``retention_hosts`` are as for verify.

    ``pace`` is called after every few hundred records: it may sleep to bound the use of the CPU,
    or raise to stop.  Raises OSError.
    """
    while True:
        inventory = scan(directory)
        proofs = proofs_in(inventory.logs, retention_hosts)
        tombstones = by_log(proofs.tombstones).get(str(log), ())
        report, vanished = _verify_log(
            ChainCheck(
                str(log),
                tombstones,
                erasures=by_stub(proofs.erasures, str(log)),
                retention_hosts=retention_hosts,
            ),
            inventory.logs.get(log, ()),
            known_head(directory, log),
            known,
            pace=pace,
        )
        if report.ok or not vanished:
            return report


def _verify_directory(
    path: Path,
    workers: Workers | None,
    seen: tuple[KnownRecord, ...],
    retention_hosts: Collection[str] | None,
) -> tuple[Report, bool]:
    inventory = scan(path)
    proofs = proofs_in(inventory.logs, retention_hosts)
    tombstones = by_log(proofs.tombstones)
    # A log of which every segment is gone is still known by what was noted about it.
    sighted = {expected.log for expected in seen}
    named = {*tombstones, *sighted, *map(str, known_logs(path))} - set(map(str, inventory.logs))
    if named - sighted:
        named -= forgotten_logs([path]).keys() - sighted
    logs = {*inventory.logs, *_parsed(named)}
    if not logs:
        raise NoLog(
            "there is no log in this directory",
            path=path,
            hint="Name the directory that holds the *.ndjson segments.",
        )
    results = [
        _verify_log(
            ChainCheck(
                str(log),
                tombstones.get(str(log), ()),
                erasures=by_stub(proofs.erasures, str(log)),
                retention_hosts=retention_hosts,
            ),
            inventory.logs.get(log, ()),
            known_head(path, log),
            [expected for expected in seen if expected.log == str(log)],
            workers=workers,
        )
        for log in sorted(logs)
    ]
    return Report(tuple(log for log, _ in results)), any(vanished for _, vanished in results)


def _parsed(names: Iterable[str]) -> Iterator[LogId]:
    for log in names:
        try:
            yield LogId.parse(log)
        except InvalidName:  # not a valid log id, so there is no such log
            continue


def _lines(
    segment: SegmentFile, pace: Callable[[], None] | None = None
) -> Iterator[tuple[int, bytes]]:
    stream, path = open_any_form(segment)
    with stream:
        yield from _paced(iter_lines(stream, path=path), pace)


def _paced(
    lines: Iterator[tuple[int, bytes]], pace: Callable[[], None] | None
) -> Iterator[tuple[int, bytes]]:
    if pace is None:
        return lines
    return _with_pauses(lines, pace)


def _with_pauses(
    lines: Iterator[tuple[int, bytes]], pace: Callable[[], None]
) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines):
        if number % _PACE_LINES == 0:
            pace()
        yield line


def _check_by_stretches(
    check: ChainCheck, segment: SegmentFile, workers: Workers, *, last_of_log: bool
) -> None:
    stream, path = open_any_form(segment)
    with stream:
        done = 0
        if path.name == segment.name.logical:
            size = os.fstat(stream.fileno()).st_size
            first = stream.readline(MAX_RECORD_BYTES + 1)
            if first.endswith(b"\n"):
                check.line(first, 0, last_of_log=last_of_log)
                done = len(first)
            day = segment.name.day.isoformat()
            stretches = list(cuts(stream, done, size)) if done else []
            for start, end, intact in workers.checked(path, check.log, day, stretches):
                if intact is None or not check.join(intact, end):
                    stream.seek(start)
                    content = io.BytesIO(stream.read(end - start))
                    for offset, line in iter_lines(content, start):
                        check.line(line, offset, last_of_log=last_of_log)
                done = end
            stream.seek(done)
        for offset, line in iter_lines(stream, done, path=path):
            check.line(line, offset, last_of_log=last_of_log)


def _verify_log(
    check: ChainCheck,
    segments: tuple[SegmentFile, ...],
    head: SegmentName | None,
    seen: Sequence[KnownRecord],
    *,
    workers: Workers | None = None,
    pace: Callable[[], None] | None = None,
) -> tuple[LogReport, bool]:
    """The log's report, and whether a segment vanished since it was listed."""
    vanished = False
    for segment in segments:
        check.segment(segment.name)
        newest = segment is segments[-1]
        try:
            if workers is None or check.has_tombstones:
                for offset, line in _lines(segment, pace):
                    check.line(line, offset, last_of_log=newest)
            else:
                _check_by_stretches(check, segment, workers, last_of_log=newest)
        except LogDamaged as error:
            check.unreadable(error.reason)
        except FileNotFoundError:
            check.segments -= 1
            vanished = True
    check.finish(head, seen)
    compare_with_known_records(check, segments, seen, pace=pace)
    return LogReport.of(check), vanished


def compare_with_known_records(
    check: ChainCheck,
    segments: Sequence[SegmentFile],
    seen: Sequence[KnownRecord],
    *,
    pace: Callable[[], None] | None = None,
) -> None:
    """Report records that others saw otherwise: of a log that was written anew with fitting hashes.

    The check has finished.  Raises OSError.
    """
    for expected in seen if check.verified_through_seq else ():
        seen_here = expected.hash and expected.seq <= (check.last_seq or 0)
        if seen_here and not _holds(segments, expected, pace):
            check.contradicted(expected)


def _holds(
    segments: Iterable[SegmentFile], expected: KnownRecord, pace: Callable[[], None] | None
) -> bool:
    """Whether the record at the place of the known one is that one.

    True as well where its segment is gone or unreadable, which is reported elsewhere.
    """
    for segment in segments:
        if segment.name.logical != expected.segment:
            continue
        try:
            header = _header_of(segment, expected, pace)
        except (LogDamaged, FileNotFoundError):
            return True
        return header is not None and (header.seq, header.hash) == (expected.seq, expected.hash)
    return True


def _header_of(
    segment: SegmentFile, expected: KnownRecord, pace: Callable[[], None] | None
) -> Header | None:
    """The record that ends at the known one's offset or, where it has none, has its number."""
    stream, path = open_any_form(segment)
    with stream:
        start = 0
        if path.name == segment.name.logical:  # plain: the record begins no further back than this
            start = max(0, expected.offset - MAX_RECORD_BYTES - 1)
            stream.seek(start)
        for offset, line in _paced(iter_lines(stream, start, path=path), pace):
            end = offset + len(line)
            if expected.offset and end < expected.offset:
                continue
            header = parse_header(line)
            if expected.offset:
                return header if end == expected.offset else None
            if header is not None and header.seq == expected.seq:
                return header
    return None
