"""Check one log's records in order, and report where each problem is.  Pure.

After a finding the check goes on, so that one changed record is one finding and not an avalanche;
but no record behind the first finding counts as verified.

Invariants (tests of the same name in tests/auditlog/verification/test_chain.py):
  every_byte    changing any byte of any whole line is found, and named with the right line
  removed       removing, repeating or swapping records is found
  one_each      one changed record gives one finding
  tombstoned    what a tombstone accounts for is not missing
  erased        a stub counts as its record if an erasure proves it, and is a finding if none does
  disbelieved   a record of a deletion that is not to be believed is a finding
  all_of_it     a log or a tail that anybody knows of and the files do not have is missing
  bounded       a log that is wrong throughout does not fill the memory with findings
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from auditlog.format.erasures import Erasure, stub_digest
from auditlog.format.record import (
    GENESIS_HASH,
    RECORD_ERASED,
    Header,
    check_link,
    is_intact,
    line_hash,
    log_prefix,
    parse_header,
    stub_leaf,
)
from auditlog.format.tombstones import SEGMENT_DELETED, tombstone_problem
from auditlog.verification.fast_path import check_following, following_start

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from auditlog.format.segment_names import SegmentName
    from auditlog.format.tombstones import Tombstone
    from auditlog.reading.registry import KnownRecord

__all__ = ["MAX_FINDINGS", "ChainCheck", "Finding", "FindingKind", "Intact"]

MAX_FINDINGS: Final = 1000
"""Maximum number of findings listed for one log; further ones are counted."""

FindingKind = Literal[
    "hash_mismatch",
    "chain_break",
    "seq_gap",
    "seq_repeat",
    "not_a_record",
    "torn_tail",
    "missing_segment",
    "missing_log",
    "tail_missing",
    "signed_tail_missing",
    "root_mismatch",
    "checkpoint_signature",
    "checkpoint_stale",
    "quorum_missing",
    "tombstone_invalid",
    "leaves_missing",
    "wrong_day",
    "erasure_unproven",
    "erasure_unfinished",
]

_DELETION: Final = f'"event_type":"{SEGMENT_DELETED}"'.encode()

_DETAIL = {
    "hash_mismatch": "the record's content does not match its hash",
    "chain_break": "the record does not name the hash of the one before it",
    "seq_gap": "records {expected} to {before} are missing",
    "seq_repeat": "the number was used before; expected {expected}",
}


def _knows(expected: KnownRecord) -> str:
    return f"{expected.source} knows it" + (f" up to seq {expected.seq}" if expected.seq else "")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: ``line`` from 1 and ``offset`` in bytes, in the plain segment."""

    kind: FindingKind
    segment: str
    line: int
    offset: int
    seq: int | None
    detail: str

    @property
    def fatal(self) -> bool:
        """Whether the log is not ok.

        A torn tail is normal after a crash, and open repairs it.  An unfinished erasure was cut off
        between its record and the replacement of the line; the same command finishes it.
        """
        return self.kind not in ("torn_tail", "erasure_unfinished")


class Intact(NamedTuple):
    """A run of records, each the intact successor of the one before, all of the segment's day."""

    first_seq: int
    prev_hash: str
    records: int
    last_hash: str


@dataclass(slots=True)
class ChainCheck:
    """Checks one log.  ``whole`` is false when only a part of the log is given.

    ``erasures`` are those of this log, by the digest of their stubs (format.erasures.by_stub).
    ``retention_hosts`` are those whose retention may delete (format.tombstones.may_delete).

    Call ``segment``, then ``line`` for each of its lines, and so on; in the end ``finish``.
    ``suspect_records`` are the lines from the first finding on, its own included.
    """

    log: str
    tombstones: tuple[Tombstone, ...] = ()
    whole: bool = True
    erasures: Mapping[str, Erasure] = field(default_factory=dict)
    retention_hosts: Collection[str] | None = None
    segments: int = 0
    records: int = 0
    first_seq: int | None = None
    last_seq: int | None = None
    head_hash: str = GENESIS_HASH
    verified_through_seq: int = 0
    suspect_records: int = 0
    deleted: list[Tombstone] = field(default_factory=list)
    erased: list[Erasure] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    findings_omitted: int = 0
    _expected: int | None = None
    _hashes: tuple[str, ...] = ()
    _strange: int = 0  # lines since the last record that are none
    _lost: bool = False
    _broken: bool = False
    _segment: SegmentName | None = None
    _seen: SegmentName | None = None
    _name: str = ""
    _day: str = ""
    _day_bytes: bytes = b""
    _prefix: bytes = b""
    _line: int = 0
    _end: int = 0
    _at_start: bool = True

    def __post_init__(self) -> None:
        self._prefix = log_prefix(self.log)
        if self.whole:
            self._expected, self._hashes = 1, (GENESIS_HASH,)

    @property
    def has_tombstones(self) -> bool:
        """Whether it is a log of retention; each of its lines has to be given to line."""
        return self.log.startswith("retention@")

    @property
    def head_segment(self) -> str:
        """The logical name of the segment that holds the last record; empty when there is none."""
        return "" if self._seen is None else self._seen.logical

    def segment(self, name: SegmentName) -> None:
        """Start the next segment: the lines that follow belong to it."""
        self.segments += 1
        self._name, self._day = name.logical, name.day.isoformat()
        self._day_bytes = self._day.encode("ascii")
        self._segment = name
        self._line = self._end = 0
        self._at_start = True

    def line(self, line: bytes, offset: int, *, last_of_log: bool = False) -> None:
        """Check the segment's next line, LF included.

        ``last_of_log``: the line ends the log's newest segment, so one without LF is a torn tail.
        """
        self._line += 1
        self._end = offset + len(line)
        if not self._follows(line):
            self._look_closely(line, offset, last_of_log=last_of_log)
        if _DELETION in line and self.has_tombstones:
            self._check_deletion(line, offset)

    def join(self, intact: Intact, end: int) -> bool:
        """Accept lines up to byte ``end``, which a worker has checked, if they continue the log.

        Returns False, with nothing changed, when they do not; then they have to be given to line.
        """
        if self._broken or self._at_start or self._strange:
            return False
        if intact.first_seq != self._expected or intact.prev_hash != self.head_hash:
            return False
        self._line += intact.records
        self._end = end
        self.records += intact.records
        self._expected += intact.records
        self.last_seq = self.verified_through_seq = self._expected - 1
        self.head_hash = intact.last_hash
        self._hashes = (intact.last_hash,)
        return True

    def _follows(self, line: bytes) -> bool:
        """Fast path: accept the line if it is the next record and no finding is pending."""
        if self._broken or self._at_start or self._strange:
            return False
        expected = self._expected
        if expected is None:
            return False
        start = following_start(self._prefix, expected, self.head_hash)
        checked = check_following(line, start)
        if checked is None or not line.startswith(self._day_bytes, len(start)):
            return False
        digest = checked[0]
        self.records += 1
        self.last_seq = self.verified_through_seq = expected
        self._expected = expected + 1
        self.head_hash = digest
        self._hashes = (digest,)
        return True

    def _look_closely(self, line: bytes, offset: int, *, last_of_log: bool) -> None:
        self._seen = self._segment
        header = parse_header(line)
        if header is None:
            self._line_without_header(line, offset, last_of_log=last_of_log)
            return
        self.records += 1
        if self._at_start:
            self._begin(header, line, offset)
        expected = self._position(header)
        problem = self._check(header, line, expected)
        if problem is not None:
            seq = expected if problem == "hash_mismatch" else header.seq
            detail = _DETAIL[problem].format(expected=expected, before=header.seq - 1)
            self._find(problem, offset, seq, detail)
        elif header.log != self.log:
            self._find("chain_break", offset, header.seq, f"the record is of {header.log}")
        elif header.day != self._day:
            self._find("wrong_day", offset, header.seq, f"the record is of {header.day}")
        elif header.event_type == RECORD_ERASED and stub_leaf(line) is not None:
            self._take_stub(line, offset, header.seq)
        self._accept(header, line, problem, expected)

    def _take_stub(self, line: bytes, offset: int, seq: int) -> None:
        """Accept the stub of an erased record if an erasure proves it."""
        erasure = self.erasures.get(stub_digest(line))
        if erasure is None:
            detail = "the record was replaced by a stub, and no record of an erasure proves that"
            self._find("erasure_unproven", offset, seq, detail)
        else:
            self.erased.append(erasure)

    def unreadable(self, detail: str) -> None:
        """Report that the rest of the segment cannot be read."""
        self._line += 1
        self._seen = self._segment
        self._find("not_a_record", self._end, self._expected, detail)
        self._hashes, self._lost = (), True

    def finish(self, newest: SegmentName | None = None, known: Sequence[KnownRecord] = ()) -> None:
        """Finish the check after the last line, and report records that are missing at the end.

        ``newest`` is the newest segment that is known to have had a record, ``known`` is what
        else is known of this log.  Retention never deletes a log's newest segment, so a log
        without any segment was not deleted under policy.
        """
        self._name, self._line = "", 0
        self._follow_tombstones()
        furthest = max(known, key=lambda expected: expected.seq, default=None)
        if self.whole and self.segments == 0:
            self._name = newest.logical if newest is not None else ""
            source = "" if furthest is None else f"; {_knows(furthest)}"
            self._find("missing_log", 0, None, f"no segment of this log is left{source}")
            return
        self._find_unfinished()
        if newest is not None and (self._seen is None or self._seen < newest):
            self._name = newest.logical
            self._find("missing_segment", 0, None, "the newest segment is missing or empty")
        elif furthest is not None and furthest.seq >= (self._expected or 1):
            self._name = furthest.segment
            reached = (self._expected or 1) - 1
            detail = f"the files end at seq {reached}, but {_knows(furthest)}"
            self._find("tail_missing", furthest.offset, reached + 1, detail)

    def _find_unfinished(self) -> None:
        """Report erasures that are on record and were not carried out."""
        done = {erasure.seq for erasure in self.erased}
        first, last = self.first_seq or 1, self.last_seq or 0
        for erasure in sorted(self.erasures.values()):
            gone = any(one.first_seq <= erasure.seq <= one.last_seq for one in self.deleted)
            if first <= erasure.seq <= last and not gone and erasure.seq not in done:
                self._name = erasure.segment
                detail = (
                    f"an erasure of {erasure.erased_at[:10]} is on record, and the record is still"
                    f" there; run auditctl erase {self.log} {erasure.seq} again"
                )
                self._find("erasure_unfinished", 0, erasure.seq, detail)
        self._name = ""

    def contradicted(self, expected: KnownRecord) -> None:
        """Report that the files hold another record in the place of the one that was seen."""
        self._name, self._line = expected.segment, 0
        detail = f"it is not the record that {expected.source} acknowledged under this number"
        self._find("hash_mismatch", expected.offset, expected.seq, detail)

    def _line_without_header(self, line: bytes, offset: int, *, last_of_log: bool) -> None:
        if last_of_log and not line.endswith(b"\n"):
            self._find("torn_tail", offset, self._expected, f"{len(line)} bytes of a torn record")
            return
        self.records += 1
        if self._at_start:
            self._follow_tombstones()
        seq = None if self._expected is None else self._expected + self._strange
        self._find("not_a_record", offset, seq, "the line is not a record")
        self._strange += 1
        self.suspect_records += 1

    def _begin(self, header: Header, line: bytes, offset: int) -> None:
        """Check that a segment's first record continues the segment before it."""
        if not is_intact(header, line):
            self._follow_tombstones()  # perhaps its number was changed; check the next one
            return
        self._at_start = False
        if self._expected is None:  # a part of a log may start at any record
            self._expected, self._hashes = header.seq, self._hashes or (header.prev_hash,)
            return
        self._follow_tombstones(header.seq)
        if header.seq > self._expected + 2 * self._strange and not self._lost:
            self._find(
                "missing_segment",
                offset,
                self._expected,
                f"records {self._expected} to {header.seq - 1} are missing"
                " and no tombstone names them",
            )
            self._expected, self._hashes = header.seq, (header.prev_hash,)
        elif self._lost and header.seq > self._expected:
            self._expected, self._hashes = header.seq, ()
        self._lost = False

    def _follow_tombstones(self, until: int | None = None) -> None:
        """Skip segments that have tombstones, up to number ``until`` and not past this segment."""
        if self._expected is None:
            return
        for tombstone in self.tombstones:
            ahead = tombstone.first_seq - self._expected
            if not 0 <= ahead <= 2 * self._strange or tombstone.segment == self._name:
                continue
            if until is not None and tombstone.last_seq >= until:
                continue
            if ahead == 0 and self._hashes and tombstone.first_prev_hash not in self._hashes:
                continue
            self.deleted.append(tombstone)
            self._expected, self._hashes = tombstone.last_seq + 1, (tombstone.last_hash,)
            self._strange = 0
            if not self._broken:
                self.verified_through_seq = tombstone.last_seq

    def _position(self, header: Header) -> int | None:
        """Which number the record should have; None where only the record itself can say.

        A strange line may have been put in, be one changed record, or, its LF changed, be two.
        """
        if self._expected is None or not self._strange:
            return self._expected
        ahead = header.seq - self._expected
        if not 0 <= ahead <= 2 * self._strange:
            return self._expected + self._strange
        if ahead > 0:
            self._hashes = ()  # the record before is not readable; nothing to compare with
        return header.seq

    def _check(self, header: Header, line: bytes, expected: int | None) -> FindingKind | None:
        if self._hashes and header.prev_hash not in self._hashes:
            prev_hash = self._hashes[0]
        else:
            prev_hash = header.prev_hash
        seq = header.seq if expected is None else expected
        return check_link(header, line, seq=seq, prev_hash=prev_hash)

    def _accept(
        self, header: Header, line: bytes, problem: FindingKind | None, expected: int | None
    ) -> None:
        if self._broken:
            self.suspect_records += 1
        seq: int | None = header.seq
        self._hashes = (header.hash,)
        if problem == "hash_mismatch":
            # Either of the two hashes may be what the next record names: which one depends on
            # whether the content or the stated hash was changed.  The number may be changed too.
            seq = expected
            self._hashes = (header.hash, line_hash(line))
        self._strange = 0
        if seq is None:
            return
        self._expected = seq + 1
        self.first_seq = seq if self.first_seq is None else self.first_seq
        self.last_seq = seq
        self.head_hash = header.hash
        if not self._broken:
            self.verified_through_seq = seq

    def _check_deletion(self, line: bytes, offset: int) -> None:
        header = parse_header(line)
        if header is None:
            return
        if problem := tombstone_problem(header, line, self.retention_hosts):
            detail = f"this deletion is not believed: {problem}"
            self._find("tombstone_invalid", offset, header.seq, detail)

    def _find(self, kind: FindingKind, offset: int, seq: int | None, detail: str) -> None:
        finding = Finding(kind, self._name, self._line, offset, seq, detail)
        if kind != "tombstone_invalid":  # it is a link of the chain all the same
            self._broken = self._broken or finding.fatal
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.findings_omitted += 1
