"""Verify logs against checkpoints kept by witnesses, sinks or people.

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

from auditlog.evidence.checkpoint import Checkpoint, log_of_origin
from auditlog.evidence.errors import BadEvidence, RevokedKey
from auditlog.evidence.remaining_tree import RemainingTree, remaining_leaves
from auditlog.evidence.tree_files import TreeFiles
from auditlog.format.tombstones import by_log
from auditlog.reading.inventory import scan
from auditlog.reading.tombstone_scan import tombstones_in
from auditlog.verification.chain import Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
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
    ``stamped_through_seq`` is that of the newest one that a time-stamping authority has seen, at
    ``stamped_at``; None where that was not verified.
    """

    log: str
    signed_through_seq: int = 0
    witnessed_through_seq: int = 0
    witnessed_at: dt.datetime | None = None
    witnesses: tuple[str, ...] = ()
    stamped_through_seq: int = 0
    stamped_at: dt.datetime | None = None
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
    retention_hosts: Collection[str] | None = None,
) -> dict[str, EvidenceReport]:
    """The report of each log that the policy names, by its id.

    ``state_dir`` may hold leaves of records that were deleted under policy; they are believed only
    as far as the signed root comes out with them.  ``retention_hosts`` are those whose tombstones
    are believed (format.tombstones.may_delete).  Raises OSError.
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
        except RevokedKey:
            continue  # whoever has the key can make such; later ones cover the log
        except BadEvidence as error:
            detail = f"{candidate.source}: {error.reason}"
            reports[log_of_origin(origin)[0]].find("checkpoint_signature", None, detail)
    inventories = [scan(directory).logs for directory in directories if directory.is_dir()]
    segments = {str(log): found for logs in inventories for log, found in logs.items()}
    tombstones = by_log(
        each for logs in inventories for each in tombstones_in(logs, retention_hosts)
    )
    for log, report in reports.items():
        kept = None if state_dir is None else TreeFiles(state_dir / "proofs" / log)
        trusted = by_origin[origins[log][1]]
        sizes = {each.checkpoint.size for each in trusted}
        tree = RemainingTree(log, sizes, tombstones.get(log, ()), kept)
        _verify_log(report, segments.get(log, ()), trusted, tree)
        _judge(report, trusted, now, max_age)
    return reports


def _verify_log(
    report: EvidenceReport,
    segments: Sequence[SegmentFile],
    trusted: Sequence[Trusted],
    tree: RemainingTree,
) -> None:
    tree.read(segments)
    largest = max(trusted, key=lambda each: each.checkpoint.size, default=None)
    if largest is not None and largest.checkpoint.size > tree.size:
        size = largest.checkpoint.size
        detail = f"the files end at seq {tree.size}; a checkpoint of {size} records is signed"
        report.find("signed_tail_missing", tree.size + 1, detail + _by(largest))
    roots = tree.roots({each.checkpoint.size: each.checkpoint.root for each in trusted})
    wrong: list[Trusted] = []
    right = {0}
    proven: list[Trusted] = []
    for each in trusted:
        size = each.checkpoint.size
        if size > tree.size or size not in roots:
            continue
        if roots[size] != each.checkpoint.root:
            wrong.append(each)
            continue
        right.add(size)
        report.signed_through_seq = max(report.signed_through_seq, size)
        if each.quorum:
            proven.append(each)
        if each.quorum and each.seen:  # a policy without a quorum takes it without any witness
            report.witnessed_through_seq = max(report.witnessed_through_seq, size)
    if not wrong and not report.findings and not proven and any(each.quorum for each in trusted):
        detail = "every checkpoint of a quorum ends within records that were deleted under policy"
        report.find("leaves_missing", None, detail)
    if not wrong:
        return
    first = min(wrong, key=lambda each: each.checkpoint.size)
    if tree.is_unknown_before(first.checkpoint.size):
        detail = "its root cannot be computed: records were deleted under policy, and neither kept"
        detail += " leaves nor tombstones say what they were in the tree"
        report.find("leaves_missing", first.checkpoint.size, detail + _by(first))
        return
    # A forger who has the key signs the forgery: larger trees that fit say nothing.
    same = max(size for size in right if size < first.checkpoint.size)
    _mismatch(report, segments, first, same, tree.kept)


def _mismatch(
    report: EvidenceReport,
    segments: Sequence[SegmentFile],
    first: Trusted,
    same: int,
    kept: TreeFiles | None,
) -> None:
    """Report where the log differs from the signed tree, as exactly as possible.

    Its first ``same`` records are those of a smaller checkpoint.
    """
    size = first.checkpoint.size
    where, seq = f"a record from {same + 1} to {size}", same + 1
    try:
        if kept is not None and kept.root(size) == first.checkpoint.root:
            # The kept leaves are those that were signed: the first one that differs is the place.
            for index, leaf in remaining_leaves(report.log, segments, size):
                if index < size and kept.leaves(index, 1)[0] != leaf:
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
