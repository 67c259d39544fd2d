"""Upload one segment or manifest, so that after any crash it is known what the archive has.

    measure -> remember that it begins -> upload -> remember its version

An upload whose answer was lost may have happened.  Its repetition then meets an object of this name
(412).  If this key may read, the object is compared; else the same bytes are uploaded once more as
a further version, whose id is then known.  An object that is there although none was begun here is
somebody else's: it is not taken for ours, and nothing is deleted for it.

Invariants (tests of the same name in tests/shippers/archive/test_uploader.py):
  once        a segment is uploaded once, however often it is tried
  unanswered  an upload whose answer was lost ends with a version that is known to be ours
  foreign     an object that was there before is an error, unless it can be seen to be the same
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from auditlog.archived import ArchivedObject
from auditlog.errors import LogDamaged
from auditlog.reading.reader import bounds
from shippers.archive.keys import segment_key
from shippers.archive.packing import Measured, PackedBody, measure
from shippers.errors import ArchiveUnavailable, ObjectExists, ObjectMissing

if TYPE_CHECKING:
    from typing import BinaryIO

    from auditlog.archived import ArchiveMemory
    from auditlog.reading.inventory import SegmentFile
    from shippers.archive.bucket import Bucket
    from shippers.archive.objects import ObjectState
    from shippers.archive.options import ArchiveOptions

__all__ = ["upload_manifest", "upload_segment"]


def upload_segment(
    segment: SegmentFile,
    bucket: Bucket,
    memory: ArchiveMemory,
    options: ArchiveOptions,
    now: dt.datetime,
) -> ArchivedObject:
    """Upload a finished segment, and remember its version.

    Raises ArchiveUnavailable, ObjectExists for somebody else's object, LogDamaged, OSError.
    """
    name = segment.name
    measured = measure(segment)
    try:
        ends = bounds(segment)
    except LogDamaged:
        ends = None  # it is archived as it is; verification raises the alarm
    begun = ArchivedObject(
        log=str(name.log),
        segment=name.logical,
        key=segment_key(name),
        version="",
        size_bytes=measured.size_bytes,
        sha256=measured.sha256,
        checksum=measured.checksum,
        content_bytes=measured.content_bytes,
        first_seq=0 if ends is None else ends.first_seq,
        last_seq=0 if ends is None else ends.last_seq,
        last_hash="" if ends is None else ends.last_hash,
        mode=options.mode,
        retain_until=now + options.retain,
        at=now,
    )
    earlier = memory.begun(begun.log, begun.segment)
    if earlier is None:
        memory.begin(begun)

    def put(*, only_new: bool) -> str:
        with PackedBody(segment, measured.size_bytes) as body:
            stream = cast("BinaryIO", body)
            return bucket.put(begun.key, stream, measured, begun.retain_until, only_new=only_new)

    try:
        stored = replace(begun, version=put(only_new=True))
    except ObjectExists as taken:
        if earlier is None:
            memory.forget(begun)  # it was refused, so this one did not happen
        # An earlier version of this program, or of zstd, may have begun it with other bytes.
        same = _seen(bucket, [begun] if earlier is None else [begun, earlier])
        if same is None:
            if earlier is None or _may_read(bucket, begun.key):
                raise _foreign(taken) from None
            same = replace(begun, version=put(only_new=False))
        stored = same
    memory.store(stored)
    return stored


def upload_manifest(
    key: str, content: bytes, bucket: Bucket, until: dt.datetime, *, again: bool
) -> str:
    """Upload a manifest and return its version; ``again`` where its answer may have been lost.

    Raises ArchiveUnavailable, ObjectExists for somebody else's object.
    """
    measured = Measured.of(content)
    try:
        return bucket.put(key, content, measured, until)
    except ObjectExists as taken:
        found = _state_of(bucket, key)
        if found is not None and found.checksum == measured.checksum:
            return found.version
        if not again or _may_read(bucket, key):
            raise _foreign(taken) from None
        return bucket.put(key, content, measured, until, only_new=False)


def _seen(bucket: Bucket, candidates: list[ArchivedObject]) -> ArchivedObject | None:
    """Return the one of these that is the newest version, as far as it may be looked at."""
    found = _state_of(bucket, candidates[0].key)
    if found is None or found.retain_until is None:
        return None
    for each in candidates:
        if (found.size_bytes, found.checksum) == (each.size_bytes, each.checksum):
            until = found.retain_until.astimezone(dt.UTC)
            return replace(each, version=found.version, mode=found.mode, retain_until=until)
    return None


def _state_of(bucket: Bucket, key: str) -> ObjectState | None:
    """Look at the newest version; None where it is hidden, or may not be looked at."""
    try:
        return bucket.state(key)
    except ObjectMissing:
        return None  # a delete marker hides it
    except ArchiveUnavailable as error:
        if error.code == "AccessDenied":
            return None
        raise


def _may_read(bucket: Bucket, key: str) -> bool:
    """Whether the key may look at objects.  Raises ArchiveUnavailable when nobody can tell now."""
    try:
        bucket.state(key)
    except ObjectMissing:
        return True
    except ArchiveUnavailable as error:
        if error.code == "AccessDenied":
            return False
        raise
    return True


def _foreign(taken: ObjectExists) -> ObjectExists:
    return ObjectExists(
        f"{taken.reason}, and it is not known to be ours",
        hint="Nothing is deleted for it. If the state directory was lost, give the agent a key that"
        " may read until it has compared what is there; else find out who has the key that writes.",
    )
