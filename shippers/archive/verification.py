"""Verify an archive from the bucket alone: manifests, versions, locks, bytes, records.

One object is read at a time, as it arrives.  In memory are the descriptions of one host's objects,
about 1 KiB each.

Invariants (tests of the same name in tests/shippers/archive/test_verification.py):
  named     whatever is done to the bucket with a key that may write is named
  proven    every record of every segment is checked by the chain
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from auditlog.errors import LogDamaged
from auditlog.format.erasures import ERASURE, by_stub, parse_erasure
from auditlog.format.record import parse_header
from auditlog.reading.reader import iter_lines
from auditlog.verification.chain import ChainCheck
from shippers.archive import verdicts
from shippers.archive.download import ArrivingObject
from shippers.archive.keys import (
    MANIFESTS,
    manifest_key,
    manifest_of_key,
    prefix_of_host,
    prefix_of_log,
    segment_of_key,
)
from shippers.archive.verdicts import ArchiveFinding, ManifestChain
from shippers.errors import ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from auditlog.archived import ArchivedManifest, ArchivedObject
    from auditlog.format.erasures import Erasure
    from shippers.archive.bucket import Bucket
    from shippers.archive.manifest import ArchiveManifest
    from shippers.archive.objects import ObjectVersion

__all__ = ["BucketReport", "hosts_in", "manifests_of", "verify_host"]

_ERASURE: Final = f'"event_type":"{ERASURE}"'.encode()


@dataclass(slots=True)
class BucketReport:
    """The findings about one host's objects; ``records`` were checked by their chain."""

    host: str
    manifests: int = 0
    objects: int = 0
    object_bytes: int = 0
    records: int = 0
    through: dict[str, int] = field(default_factory=dict)
    findings: list[ArchiveFinding] = field(default_factory=list)
    checkpoints: tuple[tuple[str, ...], ...] = ()

    @property
    def ok(self) -> bool:
        return self.objects > 0 and not any(each.fatal for each in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The object of one host in ``auditctl archive verify --json``."""
        return {
            "host": self.host,
            "ok": self.ok,
            "manifests": self.manifests,
            "objects": self.objects,
            "bytes": self.object_bytes,
            "records": self.records,
            "logs": [{"log": log, "last_seq": seq} for log, seq in sorted(self.through.items())],
            "findings": [
                {"kind": e.kind, "key": e.key, "version": e.version, "detail": e.detail}
                for e in self.findings
            ],
        }


def hosts_in(bucket: Bucket) -> list[str]:
    """The hosts that have manifests in the archive.  Raises ArchiveUnavailable."""
    return bucket.folders(MANIFESTS)


def manifests_of(
    bucket: Bucket, host: str, chain: ManifestChain
) -> Iterator[tuple[ArchiveManifest, ObjectVersion]]:
    """Yield the usable manifests of a host by number, each the oldest version of its key.

    The chain has the findings.  Raises ArchiveUnavailable.
    """
    for key, listed in _by_key(bucket, prefix_of_host(host)):
        place = manifest_of_key(key)
        if place is None:
            continue
        real = [each for each in listed if not each.marker]
        if not real:
            chain.findings += verdicts.judge_versions(key, "", listed)
            continue
        # The first that was stored is the one that the agent knows; later ones were put over it.
        first = min(real, key=lambda each: (each.at, each.latest))
        content = b"".join(bucket.read(key, first.version))
        same = _repeats(bucket, key, first, real)
        chain.findings += verdicts.judge_versions(key, first.version, listed, same)
        manifest = chain.accept(key, place[1], content)
        if manifest is not None:
            yield manifest, first


def verify_host(
    bucket: Bucket,
    host: str,
    now: dt.datetime,
    *,
    read: bool = True,
    newest: ArchivedManifest | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> BucketReport:
    """Verify what one host archived.

    ``read`` false looks at lists, checksums and locks, and downloads no segment; ``newest`` is the
    last manifest that the host itself knows of.  Raises ArchiveUnavailable.
    """
    report, chain = BucketReport(host), ManifestChain(host)
    expected: dict[str, dict[str, ArchivedObject]] = defaultdict(dict)
    for manifest, listed in manifests_of(bucket, host, chain):
        report.manifests += 1
        report.checkpoints = manifest.checkpoints
        for each in manifest.objects:
            expected[each.log][each.key] = each
        until = max((each.retain_until for each in manifest.objects), default=now)
        state = bucket.state(listed.key, listed.version)
        report.findings += verdicts.judge_lock(listed.key, listed.version, until, state)
    if newest is not None and newest.version is not None:
        chain.missing(newest.number, manifest_key(host, newest.number))
    report.findings += chain.findings
    erasures: list[Erasure] = []
    # Logs of retention come first: they have the erasures that explain stubs in the others.
    for log in sorted(expected, key=lambda each: (not each.startswith("retention@"), each)):
        progress(log)
        check = ChainCheck(log, whole=False, erasures=by_stub(erasures, log))
        found = erasures if read else None
        _verify_log(bucket, expected.pop(log), check, report, now=now, erasures=found)
    return report


def _verify_log(
    bucket: Bucket,
    expected: Mapping[str, ArchivedObject],
    chain: ChainCheck,
    report: BucketReport,
    *,
    now: dt.datetime,
    erasures: list[Erasure] | None,
) -> None:
    """Verify one log; adds the erasures that it records.  Without a list no bytes are read."""
    left, log = dict(expected), chain.log
    for key, listed in _by_key(bucket, prefix_of_log(log)):
        wanted = left.pop(key, None)
        if wanted is None:
            report.findings += verdicts.judge_unlisted(key, listed, now)
            continue
        real = [each for each in listed if not each.marker]
        ours = next((each for each in real if each.version == wanted.version), None)
        same = frozenset[str]() if ours is None else _repeats(bucket, key, ours, real)
        report.findings += verdicts.judge_versions(key, wanted.version, listed, same)
        if ours is None:
            continue
        report.objects += 1
        report.object_bytes += wanted.size_bytes
        report.through[log] = max(report.through.get(log, 0), wanted.last_seq)
        try:
            report.findings += verdicts.judge_state(wanted, bucket.state(key, wanted.version))
            if erasures is not None:
                report.findings += _read(bucket, wanted, chain, erasures)
        except ObjectMissing:
            report.findings += verdicts.judge_versions(key, wanted.version, ())
    for key, wanted in left.items():
        report.findings += verdicts.judge_versions(key, wanted.version, ())
    if erasures is not None:
        chain.finish()
        report.records += chain.records
        report.findings += [
            ArchiveFinding(
                "erased" if found.kind == "erasure_unproven" else "chain",
                found.segment,
                f"{found.kind}: {found.detail}",
            )
            for found in chain.findings
            if found.fatal
        ]


def _read(
    bucket: Bucket, wanted: ArchivedObject, chain: ChainCheck, erasures: list[Erasure]
) -> Iterator[ArchiveFinding]:
    name = segment_of_key(wanted.key)
    assert name is not None  # noqa: S101  (listed below the prefix of its log)
    arriving = ArrivingObject(bucket.read(wanted.key, wanted.version))
    chain.segment(name)
    try:
        for offset, line in iter_lines(arriving.content()):
            chain.line(line, offset)
            if _ERASURE in line and (header := parse_header(line)) is not None:
                found = parse_erasure(header, line)
                erasures += [] if found is None else [found]
    except LogDamaged as error:
        chain.unreadable(error.reason)
    arriving.drain()
    yield from verdicts.judge_content(wanted, arriving.size_bytes, arriving.sha256)


def _repeats(
    bucket: Bucket, key: str, ours: ObjectVersion, real: list[ObjectVersion]
) -> frozenset[str]:
    """The further versions of a key that have the same bytes as ours."""
    others = [each for each in real if each.version != ours.version]
    if not others:
        return frozenset()
    checksum = bucket.state(key, ours.version).checksum
    return frozenset(
        each.version
        for each in others
        if each.size_bytes == ours.size_bytes
        and checksum
        and bucket.state(key, each.version).checksum == checksum
    )


def _by_key(bucket: Bucket, prefix: str) -> Iterator[tuple[str, list[ObjectVersion]]]:
    for key, versions in groupby(bucket.versions(prefix), key=lambda each: each.key):
        yield key, list(versions)
