"""Verify logs against checkpoints that witnesses, sinks or people have kept.

The chain shows that what is left was not changed.  A checkpoint that a quorum of witnesses
cosigned shows what the log held at that time, whatever its host did to it since.

Invariants (tests of the same name in tests/auditlog/evidence/test_verification.py):
  untouched   a log that only grew, was compressed or deleted under policy has no finding
  rewritten   a log whose signed part was changed in any way, with hashes that fit, has a finding
  cut         a log that ends before what was signed has a finding, also when it is gone
  nothing     where there is nothing to verify, there is a finding
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditlog.errors import LogDamaged
from auditlog.evidence.checkpoint import Checkpoint, log_of_origin
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.leaves import DELETED_LEAF, leaf_of
from auditlog.evidence.merkle import TreeBuilder
from auditlog.evidence.tree_files import TreeFiles
from auditlog.format.record import log_prefix, parse_header
from auditlog.reading.inventory import scan
from auditlog.reading.reader import iter_lines, open_any_form
from auditlog.verification.chain import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from auditlog.evidence.collection import Candidate
    from auditlog.evidence.policy import Trusted, TrustPolicy
    from auditlog.reading.inventory import SegmentFile
    from auditlog.verification.chain import FindingKind

__all__ = ["EvidenceReport", "verify_evidence"]


@dataclass(slots=True)
class EvidenceReport:
    """Result of verifying one log against its checkpoints.

    ``signed_through_seq`` and ``witnessed_through_seq`` are the last records of the largest
    checkpoints that the files fit: signed by the log, and cosigned by a quorum.
    """

    log: str
    signed_through_seq: int = 0
    witnessed_through_seq: int = 0
    witnessed_at: dt.datetime | None = None
    witnesses: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings

    def find(self, kind: FindingKind, seq: int | None, detail: str) -> None:
        self.findings.append(Finding(kind, "", 0, 0, seq, detail))


def verify_evidence(
    directories: Sequence[Path],
    policy: TrustPolicy,
    candidates: Iterable[Candidate],
    *,
    state_dir: Path | None = None,
    now: dt.datetime,
    max_age: dt.timedelta | None = None,
) -> dict[str, EvidenceReport]:
    """The report of each log that the policy names, by its id.

    ``state_dir`` may hold leaves of records that were deleted under policy; they are believed only
    as far as the signed root comes out with them.  Raises OSError.
    """
    origins: dict[str, tuple[int, str]] = {}
    for origin in policy.logs:
        log, epoch = log_of_origin(origin)
        if log and epoch > origins.get(log, (0, ""))[0]:
            origins[log] = epoch, origin
    reports = {log: EvidenceReport(log) for log in sorted(origins)}
    by_origin: dict[str, list[Trusted]] = {origin: [] for _, origin in origins.values()}
    for candidate in candidates:
        try:
            origin = Checkpoint.parse(candidate.note.text).origin
        except BadEvidence:
            continue
        if origin not in by_origin:
            continue  # of another log, or of an epoch that a restart ended
        try:
            by_origin[origin].append(policy.trust(candidate.note))
        except BadEvidence as error:
            detail = f"{candidate.source}: {error.reason}"
            reports[log_of_origin(origin)[0]].find("checkpoint_signature", None, detail)
    segments = {
        str(log): found
        for directory in directories
        if directory.is_dir()
        for log, found in scan(directory).logs.items()
    }
    for log, report in reports.items():
        tree = None if state_dir is None else TreeFiles(state_dir / "proofs" / log)
        trusted = by_origin[origins[log][1]]
        _verify_log(report, segments.get(log, ()), trusted, tree)
        _judge(report, trusted, now, max_age)
    return reports


def _verify_log(
    report: EvidenceReport,
    segments: Sequence[SegmentFile],
    trusted: Sequence[Trusted],
    tree: TreeFiles | None,
) -> None:
    sizes = {each.checkpoint.size for each in trusted}
    builder, roots = TreeBuilder(), {0: TreeBuilder().root()}
    for leaf in _leaves(report.log, segments, tree, max(sizes, default=0)):
        builder.append(leaf)
        if builder.size in sizes:
            roots[builder.size] = builder.root()
    largest = max(trusted, key=lambda each: each.checkpoint.size, default=None)
    if largest is not None and largest.checkpoint.size > builder.size:
        size = largest.checkpoint.size
        detail = f"the files end at seq {builder.size}; a checkpoint of {size} records is signed"
        report.find("signed_tail_missing", builder.size + 1, detail + _by(largest))
    wrong: list[Trusted] = []
    right = {0}
    for each in trusted:
        size = each.checkpoint.size
        if size > builder.size:
            continue
        if roots[size] != each.checkpoint.root:
            wrong.append(each)
            continue
        right.add(size)
        report.signed_through_seq = max(report.signed_through_seq, size)
        if each.quorum and size >= report.witnessed_through_seq:
            report.witnessed_through_seq = size
    if wrong:
        first = min(wrong, key=lambda each: each.checkpoint.size)
        # A forger who has the key signs the forgery: larger trees that fit say nothing.
        same = max(size for size in right if size < first.checkpoint.size)
        _mismatch(report, segments, first, same, tree)


def _mismatch(
    report: EvidenceReport,
    segments: Sequence[SegmentFile],
    first: Trusted,
    same: int,
    tree: TreeFiles | None,
) -> None:
    """Report where the log differs from the signed tree, as exactly as possible.

    Its first ``same`` records are those of a smaller checkpoint.
    """
    size = first.checkpoint.size
    where, seq = f"a record from {same + 1} to {size}", same + 1
    try:
        if tree is not None and tree.root(size) == first.checkpoint.root:
            # The kept leaves are those that were signed: the first one that differs is the place.
            for index, leaf in enumerate(_leaves(report.log, segments, tree, size)):
                if tree.leaves(index, 1)[0] != leaf:
                    where, seq = f"record {index + 1}", index + 1
                    break
    except (BadEvidence, OSError):
        pass  # without them the place is less exact
    report.find(
        "root_mismatch",
        seq,
        f"{where} is not what it was when the checkpoint of {size} records was signed" + _by(first),
    )
    report.witnessed_through_seq = min(report.witnessed_through_seq, seq - 1)
    report.signed_through_seq = min(report.signed_through_seq, seq - 1)


def _judge(
    report: EvidenceReport,
    trusted: Sequence[Trusted],
    now: dt.datetime,
    max_age: dt.timedelta | None,
) -> None:
    """Check that a quorum cosigned it, and recently enough."""
    accepted = [each for each in trusted if each.quorum]
    if not accepted:
        seen = sorted({name for each in trusted for name in each.seen})
        detail = "no checkpoint of it was found" if not trusted else "no quorum cosigned it"
        detail += f", only {', '.join(seen)}" if seen else ""
        report.find("quorum_missing", None, detail)
        return
    newest = max(accepted, key=lambda each: (each.checkpoint.size, each.witnessed_at or now))
    report.witnesses = tuple(sorted(newest.seen))
    report.witnessed_at = newest.witnessed_at
    at = newest.witnessed_at
    if max_age is not None and (at is None or now - at > max_age):
        when = "has no time" if at is None else f"is of {at:%Y-%m-%dT%H:%M:%SZ}"
        detail = f"its newest witnessed checkpoint {when}, which is older than is allowed"
        report.find("checkpoint_stale", newest.checkpoint.size, detail)


def _by(trusted: Trusted) -> str:
    return f" (cosigned by {', '.join(sorted(trusted.seen))})" if trusted.seen else ""


def _leaves(
    log: str, segments: Sequence[SegmentFile], tree: TreeFiles | None, limit: int
) -> Iterator[bytes]:
    """The leaves of a log's lines as they are, up to record ``limit``.

    A line that is no record takes the place that comes next.  Where records are missing, the kept
    leaves stand in, or that of a deleted record.
    """
    prefix, expected = log_prefix(log), 1
    for line in _lines(segments):
        if expected > limit:
            return
        if not line.startswith(b"%b%d," % (prefix, expected)):
            header = parse_header(line)
            if header is not None and header.log == log and header.seq > expected:
                end = min(header.seq, limit + 1)
                yield from _gap(expected, end, tree)
                expected = end
                if expected > limit:
                    return
        yield leaf_of(line.removesuffix(b"\n"))
        expected += 1


def _lines(segments: Sequence[SegmentFile]) -> Iterator[bytes]:
    for segment in segments:
        try:
            stream, path = open_any_form(segment)
            with stream:
                for _, line in iter_lines(stream, path=path):
                    if not line.endswith(b"\n") and segment is segments[-1]:
                        return  # the writer has not come to its end yet
                    yield line
        except (FileNotFoundError, LogDamaged):
            continue  # the verification of the chain says so; what is missing is a gap


def _gap(first_seq: int, end_seq: int, tree: TreeFiles | None) -> Iterator[bytes]:
    for start in range(first_seq - 1, end_seq - 1, 4096):
        count = min(4096, end_seq - 1 - start)
        try:
            kept = tree.leaves(start, count) if tree is not None else []
        except (BadEvidence, OSError):
            kept = []
        yield from kept or [DELETED_LEAF] * count
