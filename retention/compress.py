"""Compress a file; compare the two forms before the plain one is removed.

    read, checking the chain -> .<segment>.tmp -> fsync -> open again, decompress, compare SHA-256
    -> rename -> fsync the directory -> unlink the plain file

Killed before the rename, a run leaves a temporary file, which the next run removes; killed after
it, a run leaves both forms, which every reader takes for one segment and the next run heals.

Invariants (tests of the same name in tests/retention/test_compress.py):
  equal       the compressed segment contains exactly the bytes of the plain one
  either      at any instant the plain or a compared compressed segment is there
  untouched   a segment that is damaged, changes during the run or is a symlink stays as it is
  attributes  mode, owner and modification time are those of the plain segment; the owner only if it
              may be given away
  stops       a stop takes effect between two pieces, and leaves nothing behind
"""

from __future__ import annotations

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol, Self

import zstandard

from auditlog import durable_fs
from auditlog.format.segment_names import is_segment_name
from retention.content import Identity, SegmentCheck, decoded, inspect
from retention.errors import SegmentChanged, SegmentDamaged

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from auditlog.format.segment_names import LogId
    from auditlog.reading.inventory import SegmentFile
    from auditlog.reading.reader import Bounds
    from retention.content import Content
    from retention.policy import RetentionPolicy

__all__ = [
    "SUFFIXES",
    "Compressed",
    "ContentCheck",
    "Encoder",
    "compare",
    "compress",
    "encoder",
    "foreign_temporary",
    "pack",
    "remove_stale",
]

SUFFIXES: Final = {"zstd": ".zst", "gzip": ".gz"}
_FOREIGN_TEMPORARY: Final = ".auditlog.tmp"
_GZIP_LEVEL: Final = 6  # the default of gzip(1)


@dataclass(frozen=True, slots=True)
class Compressed:
    """A segment without its plain form, and the bytes on disk that this freed."""

    path: Path
    content: Content
    freed_bytes: int


class ContentCheck(Protocol):
    """Checks the plain bytes while they are compressed."""

    def feed(self, piece: bytes, /) -> None: ...

    def finish(self) -> str:
        """Return the SHA-256 in hex.  Raises where the file is not what the plan saw."""
        ...

    def before_rename(self) -> None:
        """Raise where the compressed form must not get its name."""
        ...


class _SegmentCheck:
    """Checks that a segment is the chain of records that the plan saw."""

    def __init__(self, plain: Path, log: LogId, expected: Bounds) -> None:
        self._plain, self._expected = plain, expected
        self._chain = SegmentCheck(plain, log)
        self.content: Content | None = None

    def feed(self, piece: bytes) -> None:
        self._chain.feed(piece)

    def finish(self) -> str:
        self.content = self._chain.finish()
        _check_expected(self._plain, self.content, self._expected)
        return self.content.sha256

    def before_rename(self) -> None:
        pass  # no other program writes to the names of segments


def compress(
    segment: SegmentFile,
    expected: Bounds,
    policy: RetentionPolicy,
    stop: threading.Event,
) -> Compressed:
    """Compress one segment, or finish what a killed run began.

    ``expected`` is what the plan saw.  Raises SegmentDamaged, SegmentChanged, Stopped, OSError;
    the plain segment is then still there.
    """
    plain = segment.form_path("")
    others = [form for form in segment.forms if form]
    if others:
        content, identity = inspect(plain, "", segment.name.log, stop)
        _check_expected(plain, content, expected)
        for form in others:
            compare(segment.form_path(form), form, content.sha256, stop)
        target = segment.form_path(others[0])
    else:
        target = segment.form_path(SUFFIXES[policy.compression])
        check = _SegmentCheck(plain, segment.name.log, expected)
        temporary = target.with_name(f".{target.name}.tmp")
        identity = pack(plain, target, temporary=temporary, policy=policy, check=check, stop=stop)
        assert check.content is not None  # noqa: S101  (set by finish)
        content = check.content
    durable_fs.fsync_directory(plain.parent)
    identity.check(plain)
    durable_fs.unlink(plain)
    durable_fs.fsync_directory(plain.parent)
    return Compressed(target, content, identity.size_bytes - target.stat().st_size)


def pack(
    plain: Path,
    target: Path,
    *,
    temporary: Path,
    policy: RetentionPolicy,
    check: ContentCheck,
    stop: threading.Event,
) -> Identity:
    """Write the compressed form, compare it with what the check saw, and give it its name.

    Returns the identity of the plain file, which stays.  Raises what the check raises,
    SegmentDamaged, SegmentChanged, Stopped, OSError, and then leaves no temporary file.
    """
    try:
        identity = _write(plain, temporary, policy, check.feed, stop)
        compare(temporary, target.suffix, check.finish(), stop)
        identity.check(plain)
        check.before_rename()
        durable_fs.rename(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            durable_fs.unlink(temporary)
        raise
    return identity


def foreign_temporary(target: Path) -> Path:
    """Return the name under which the compressed form of a foreign file is written first."""
    return target.with_name(f".{target.name}{_FOREIGN_TEMPORARY}")


def remove_stale(directory: Path) -> list[Path]:
    """Remove the temporary files of killed runs.  Call it under the lock.  Raises OSError."""
    stale = [path for path in directory.glob(".*.tmp") if _is_ours(path)]
    for path in stale:
        durable_fs.unlink(path)
    return stale


def _is_ours(path: Path) -> bool:
    if path.name.endswith(_FOREIGN_TEMPORARY):
        return True
    inner = path.name.removeprefix(".").removesuffix(".tmp")
    return is_segment_name(inner)  # a plain one is of an erasure (retention.rewrite)


class Encoder(Protocol):
    """The interface of the compression objects of zstandard and zlib."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def encoder(policy: RetentionPolicy) -> Encoder:
    """An object that compresses as the policy says."""
    level = policy.level
    if policy.compression == "gzip":
        return zlib.compressobj(_GZIP_LEVEL if level is None else level, wbits=16 + zlib.MAX_WBITS)
    long_window: dict[str, int] = {}
    if policy.long_window_bytes is not None:
        long_window = {"window_log": policy.long_window_bytes.bit_length() - 1, "enable_ldm": 1}
    if level is not None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, write_checksum=True, **long_window
        )
    else:
        # Each record repeats its neighbour except for its hashes, which repeat nowhere: a small
        # table finds better matches than a large one, and a long window finds no more of them.
        # Measured: smaller than levels 1 to 6, as fast as level 1; the slower strategies save
        # 2 to 6 % more, at five times the cost.
        parameters = zstandard.ZstdCompressionParameters(
            **{
                "strategy": zstandard.STRATEGY_FAST,
                "window_log": 21,
                "hash_log": 14,
                "min_match": 7,
                "write_checksum": True,
                **long_window,
            }
        )
    return zstandard.ZstdCompressor(compression_params=parameters).compressobj()


class _BackgroundEncoder:
    """Compresses one piece in a thread while the caller checks it.  Use it in ``with``.

    It is faster since the compressors release the interpreter's lock.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._thread = ThreadPoolExecutor(1, "compress")
        self._packing: Future[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def compress(self, data: bytes) -> bytes:
        """Start to compress a piece; return what the pieces before it gave."""
        packed = b"" if self._packing is None else self._packing.result()
        self._packing = self._thread.submit(self._encoder.compress, data)
        return packed

    def flush(self) -> bytes:
        packed = b"" if self._packing is None else self._packing.result()
        return packed + self._encoder.flush()


def _write(
    plain: Path,
    temporary: Path,
    policy: RetentionPolicy,
    feed: Callable[[bytes], None],
    stop: threading.Event,
) -> Identity:
    """Write the compressed file durably, with the attributes of the plain one."""
    identity = Identity.at(plain)
    fd = durable_fs.create_exclusive(temporary)
    try:
        with _BackgroundEncoder(encoder(policy)) as packed:
            for piece in decoded(plain, "", stop):
                durable_fs.write_all(fd, packed.compress(piece))
                feed(piece)
            durable_fs.write_all(fd, packed.flush())
        state = plain.lstat()
        if (state.st_uid, state.st_gid) != (os.geteuid(), os.getegid()):
            _give(fd, state)
        os.fchmod(fd, state.st_mode & 0o7777)
        os.utime(fd, ns=(state.st_atime_ns, state.st_mtime_ns))
        durable_fs.fsync(fd)
    finally:
        os.close(fd)
    return identity


def _give(fd: int, state: os.stat_result) -> None:
    """Hand the file to the plain one's owner, or to its group at least.

    Only root may give files away.  The writers' user, who may read and replace a legacy file of
    root's, compresses it all the same, and then owns what it made.
    """
    for owner in (state.st_uid, -1):
        with suppress(PermissionError):
            os.fchown(fd, owner, state.st_gid)
            return


def compare(path: Path, form: str, expected_sha256: str, stop: threading.Event) -> None:
    """Raise SegmentChanged unless the file decompresses to exactly the plain bytes."""
    digest = sha256()
    for piece in decoded(path, form, stop):
        digest.update(piece)
    if digest.hexdigest() != expected_sha256:
        raise SegmentChanged(
            "the compressed form does not hold the bytes of the plain one",
            path=path,
            hint="Run auditctl verify on each; both stay until one is removed by hand.",
        )


def _check_expected(path: Path, content: Content, expected: Bounds) -> None:
    if content.bounds != expected:
        raise SegmentDamaged(
            "its records are not the ones between its first and last",
            path=path,
            hint="Run auditctl verify on the directory.",
        )
