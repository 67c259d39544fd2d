"""Replace records of a segment with stubs, in all its forms.

    read -> .<segment>.tmp, with stubs -> fsync -> read it back: same bytes, one unbroken chain
    -> rename over the segment -> fsync the directory

The compressed forms come first, since readers prefer the plain one: as long as a form holds the
record, verification finds the erasure unfinished.  A stub is as long as its record, so no offset
changes (auditlog.format.record).  Killed at any point, a run leaves the old or the new segment, and
perhaps a temporary file, which retention.compress.remove_stale removes.

Invariants (tests of the same name in tests/retention/test_rewrite.py):
  all_forms   no form of the segment holds an erased line afterwards; every other byte is the same
  either      at any instant the segment is the old or the new one, whole
  attributes  mode, owner and modification time are those of the old segment
  untouched   a segment that is damaged or changes during the run stays as it is
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from auditlog import durable_fs
from auditlog.format.erasures import stub_digest
from auditlog.format.record import log_prefix, stub_leaf, stub_of
from retention.compress import encoder
from retention.content import decoded, inspect
from retention.errors import SegmentChanged

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from auditlog.reading.inventory import SegmentFile
    from retention.compress import Encoder
    from retention.policy import RetentionPolicy

__all__ = ["replace_records"]


def replace_records(
    segment: SegmentFile, stubs: Mapping[int, str], policy: RetentionPolicy, stop: threading.Event
) -> None:
    """Replace the records of these numbers; ``stubs`` has the digest of each stub.

    What is a stub already stays.  Raises SegmentDamaged, SegmentChanged, Stopped, OSError.
    """
    for form in sorted(segment.forms, reverse=True):  # the plain form, "", is the last one
        _replace_in_form(segment, form, stubs, policy, stop)


def _replace_in_form(
    segment: SegmentFile,
    form: str,
    stubs: Mapping[int, str],
    policy: RetentionPolicy,
    stop: threading.Event,
) -> None:
    path = segment.form_path(form)
    before, identity = inspect(path, form, segment.name.log, stop)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        if not _write(path, temporary, _lines(segment, form, stubs, stop), _packer(form, policy)):
            return
        after, _ = inspect(temporary, form, segment.name.log, stop)
        if (after.size_bytes, after.bounds) != (before.size_bytes, before.bounds):
            raise SegmentChanged("the new segment has other bounds than the old one", path=path)
        identity.check(path)
        durable_fs.rename(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            durable_fs.unlink(temporary)
    durable_fs.fsync_directory(path.parent)


def _packer(form: str, policy: RetentionPolicy) -> Encoder | None:
    if not form:
        return None
    return encoder(replace(policy, compression="zstd" if form == ".zst" else "gzip"))


def _write(
    path: Path, temporary: Path, lines: Iterator[tuple[bytes, bool]], packer: Encoder | None
) -> bool:
    """Write the new form durably; False when it has nothing to replace."""
    state = path.lstat()
    replaced = 0
    fd = durable_fs.create_exclusive(temporary)
    try:
        for piece, is_stub in lines:
            replaced += is_stub
            durable_fs.write_all(fd, packer.compress(piece) if packer else piece)
        if packer:
            durable_fs.write_all(fd, packer.flush())
        if (state.st_uid, state.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(fd, state.st_uid, state.st_gid)
        os.fchmod(fd, state.st_mode & 0o7777)
        os.utime(fd, ns=(state.st_atime_ns, state.st_mtime_ns))
        durable_fs.fsync(fd)
    finally:
        os.close(fd)
    return replaced > 0


def _lines(
    segment: SegmentFile, form: str, stubs: Mapping[int, str], stop: threading.Event
) -> Iterator[tuple[bytes, bool]]:
    """Yield pieces of the new segment, and whether the piece is a stub put in now.

    Raises SegmentChanged when a record is not the one that was to be erased.
    """
    prefix = log_prefix(str(segment.name.log))
    wanted = {b"%d" % seq: digest for seq, digest in stubs.items()}
    rest = b""
    for chunk in decoded(segment.form_path(form), form, stop):
        *lines, rest = (rest + chunk).split(b"\n")
        kept: list[bytes] = []
        for line in lines:
            digest = wanted.get(line[len(prefix) : line.find(b",", len(prefix))])
            whole = line + b"\n"
            if digest is None or not line.startswith(prefix) or stub_leaf(whole) is not None:
                kept.append(whole)
                continue
            stub = stub_of(whole)
            if stub is None or stub_digest(stub) != digest:
                raise SegmentChanged(
                    "a record is not the one that was to be erased", path=segment.form_path(form)
                )
            if kept:
                yield b"".join(kept), False
                kept = []
            yield stub, True
        if kept:
            yield b"".join(kept), False
    if rest:
        yield rest, False
