"""Find archived segments by log and day, search their records, and restore their files.

Which version of an object counts is read from the manifests, never from the list of the bucket:
what was put over an object later is not looked at.

Invariants (tests of the same name in tests/shippers/archive/test_reading.py):
  same       a search gives the records that a search of the files gives
  exact      a restored file has the bytes that were uploaded, or is not there
  kept       a file that is there already is not touched
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from auditlog import durable_fs
from auditlog.archived import ArchivedManifest
from auditlog.errors import LogDamaged
from auditlog.format.record import Record, parse_header
from auditlog.format.segment_names import COMPRESSIONS
from auditlog.query.lines import forward
from auditlog.query.needles import needles
from auditlog.query.predicate import predicate
from shippers.archive.download import ArrivingObject
from shippers.archive.keys import segment_of_key
from shippers.archive.verdicts import ManifestChain
from shippers.archive.verification import manifests_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from auditlog.archived import ArchivedObject
    from auditlog.query.files import Trouble
    from auditlog.query.scope import SearchScope
    from auditlog.query.syntax import Query
    from shippers.archive.bucket import Bucket
    from shippers.archive.verdicts import ArchiveFinding

__all__ = ["find_objects", "last_manifest", "restore_object", "search_objects"]


def find_objects(
    bucket: Bucket, hosts: Iterable[str], scope: SearchScope, findings: list[ArchiveFinding]
) -> list[ArchivedObject]:
    """List the archived segments of some hosts that may have records of the scope, by day.

    Adds to ``findings`` what is wrong with the manifests.  Raises ArchiveUnavailable.
    """
    found: dict[str, ArchivedObject] = {}
    for host in hosts:
        chain = ManifestChain(host)
        for manifest, _ in manifests_of(bucket, host, chain):
            for each in manifest.objects:
                name = segment_of_key(each.key)
                if name is not None and scope.has_log(each.log) and scope.has_day(name.day):
                    found[each.key] = each
        findings += chain.findings
    return sorted(found.values(), key=_order)


def _order(each: ArchivedObject) -> tuple[str, str, int]:
    name = segment_of_key(each.key)
    assert name is not None  # noqa: S101  (as find_objects lists)
    return name.day.isoformat(), each.log, name.part


def last_manifest(bucket: Bucket, host: str) -> ArchivedManifest | None:
    """The newest manifest of a host, as its agent would remember it.  Raises ArchiveUnavailable."""
    newest = None
    for manifest, listed in manifests_of(bucket, host, ManifestChain(host)):
        newest = manifest, listed
    if newest is None:
        return None
    manifest, listed = newest
    content = b"".join(bucket.read(listed.key, listed.version))
    return ArchivedManifest(manifest.number, manifest.at, content, listed.version)


def search_objects(
    bucket: Bucket,
    objects: Iterable[ArchivedObject],
    query: Query,
    scope: SearchScope,
    trouble: Trouble,
) -> Iterator[Record]:
    """Yield the matching records, day by day and within a day log by log.

    Calls ``trouble`` for each object that is not as it was uploaded.  Raises ArchiveUnavailable.
    """
    holds, wanted = predicate(query), needles(query)
    since, until = scope.since, scope.until
    for each in objects:
        arriving = ArrivingObject(bucket.read(each.key, each.version))
        try:
            for block in forward(arriving.content(), wanted, path=Path(each.key)):
                for offset, line in block.lines:
                    header = parse_header(line)
                    if header is None:
                        trouble(each.segment, offset, "the line is not a record")
                    elif since <= header.timestamp < until and holds(
                        record := Record(line, header)
                    ):
                        yield record
        except LogDamaged as error:
            trouble(each.segment, error.offset or 0, error.reason)
        arriving.drain()
        if arriving.sha256 != each.sha256:
            trouble(each.segment, 0, "its bytes are not those that were uploaded")


def restore_object(bucket: Bucket, wanted: ArchivedObject, directory: Path) -> bool:
    """Write an archived segment as ``<segment>.zst``; False when a form of it is there already.

    The file appears only when all its bytes have arrived and are those that were uploaded.  Raises
    LogDamaged when they are others, ArchiveUnavailable, OSError.
    """
    if any((directory / f"{wanted.segment}{form}").exists() for form in COMPRESSIONS):
        return False
    path = directory / f"{wanted.segment}.zst"
    temporary = directory / f".{path.name}.{os.getpid()}.tmp"
    fd = durable_fs.create_exclusive(temporary)
    try:
        arriving = ArrivingObject(bucket.read(wanted.key, wanted.version))
        while piece := arriving.read(1 << 18):
            durable_fs.write_all(fd, piece)
        _check(wanted, arriving)
        durable_fs.fsync(fd)
        durable_fs.rename(temporary, path)
    except BaseException:
        durable_fs.unlink(temporary)
        raise
    finally:
        os.close(fd)
    durable_fs.fsync_directory(directory)
    return True


def _check(wanted: ArchivedObject, arriving: ArrivingObject) -> None:
    if (arriving.size_bytes, arriving.sha256) != (wanted.size_bytes, wanted.sha256):
        raise LogDamaged(
            f"{wanted.key} is not what was uploaded: its bytes have the SHA-256 {arriving.sha256}",
            hint="Run auditctl archive verify; nothing was restored from it.",
        )
