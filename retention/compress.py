"""Turn a plain segment into a compressed one that is proven equal before the plain one goes.

    read, checking the chain -> .<segment>.tmp -> fsync -> open again, decompress, compare SHA-256
    -> rename -> fsync the directory -> unlink the plain file

Killed before the rename, a temporary file is left, which the next run removes; killed after it,
both forms are there, which every reader takes for one segment and the next run heals.

Invariants (tests of the same name in tests/retention/test_compress.py):
  equal       the compressed segment holds exactly the bytes of the plain one
  either      at any instant the plain or a proven compressed segment is there
  untouched   a segment that is damaged, changed meanwhile or a symlink stays as it is
  attributes  mode, owner and modification time are those of the plain segment
  stops       a stop is heeded between two pieces, and leaves nothing behind
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
from auditlog.format.segment_names import SegmentName, is_segment_name
from retention.content import ChainCheck, Identity, decoded, inspect
from retention.errors import SegmentChanged, SegmentDamaged

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from auditlog.reading.inventory import SegmentFile
    from auditlog.reading.reader import Bounds
    from retention.content import Content
    from retention.policy import Policy

__all__ = [
    "SUFFIXES",
    "Compressed",
    "check_equal",
    "compress",
    "encoder_of",
    "foreign_temporary",
    "remove_stale",
    "write_packed",
]

SUFFIXES: Final = {"zstd": ".zst", "gzip": ".gz"}
_FOREIGN_TEMPORARY: Final = ".auditlog.tmp"
_GZIP_LEVEL: Final = 6  # gzip(1)'s own


@dataclass(frozen=True, slots=True)
class Compressed:
    """A segment that has no plain form any more, and what that saved."""

    path: Path
    content: Content
    freed_bytes: int


def compress(
    segment: SegmentFile,
    expected: Bounds,
    policy: Policy,
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
        for form in others:
            check_equal(segment.form_path(form), form, content.sha256, stop)
        target = segment.form_path(others[0])
    else:
        suffix = SUFFIXES[policy.compression]
        target = segment.form_path(suffix)
        temporary = temporary_path(target)
        try:
            chain = ChainCheck(plain, segment.name.log)
            identity = write_packed(plain, temporary, encoder_of(policy), chain.feed, stop)
            content = chain.finish()
            check_equal(temporary, suffix, content.sha256, stop)
            _check_expected(plain, content, expected)
            identity.check(plain)
            durable_fs.rename(temporary, target)
        except BaseException:
            with suppress(FileNotFoundError):
                durable_fs.unlink(temporary)
            raise
    _check_expected(plain, content, expected)
    durable_fs.fsync_directory(plain.parent)
    identity.check(plain)
    durable_fs.unlink(plain)
    durable_fs.fsync_directory(plain.parent)
    return Compressed(target, content, identity.size_bytes - target.stat().st_size)


def temporary_path(target: Path) -> Path:
    return target.with_name(f".{target.name}.tmp")


def foreign_temporary(target: Path) -> Path:
    """The same for a file that is no segment, by a name that can only be ours."""
    return target.with_name(f".{target.name}{_FOREIGN_TEMPORARY}")


def remove_stale(directory: Path) -> list[Path]:
    """Remove what killed runs left behind; only under the lock.  Raises OSError."""
    stale = [path for path in directory.glob(".*.tmp") if _is_ours(path)]
    for path in stale:
        durable_fs.unlink(path)
    return stale


def _is_ours(path: Path) -> bool:
    if path.name.endswith(_FOREIGN_TEMPORARY):
        return True
    inner = path.name.removeprefix(".").removesuffix(".tmp")
    return is_segment_name(inner) and SegmentName.parse(inner).compression != ""


class _Encoder(Protocol):
    """What zstandard's and zlib's compression objects have in common."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def encoder_of(policy: Policy) -> _Encoder:
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
        # Each record repeats its neighbour but for hashes that repeat nowhere: a small table that
        # forgets soon finds better matches than a large one, and a long window finds none more.
        # Measured: smaller than levels 1 to 6, as fast as level 1; the strategies that search for
        # longer save 2 to 6 % more, at five times the cost.
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


class _Beside:
    """Compresses in a thread, one piece behind, while its caller checks what it gave.

    The compressors release the interpreter's lock.  To be used in ``with``.
    """

    def __init__(self, encoder: _Encoder) -> None:
        self._encoder = encoder
        self._thread = ThreadPoolExecutor(1, "compress")
        self._packing: Future[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def compress(self, data: bytes) -> bytes:
        """What the pieces before this one gave."""
        packed = b"" if self._packing is None else self._packing.result()
        self._packing = self._thread.submit(self._encoder.compress, data)
        return packed

    def flush(self) -> bytes:
        packed = b"" if self._packing is None else self._packing.result()
        return packed + self._encoder.flush()


def write_packed(
    plain: Path,
    temporary: Path,
    encoder: _Encoder,
    feed: Callable[[bytes], None],
    stop: threading.Event,
) -> Identity:
    """Write the temporary file durably, with the attributes of the plain one, and feed its bytes
    to a check.  Raises what the check raises, SegmentChanged, Stopped, OSError.
    """
    identity = Identity.at(plain)
    fd = durable_fs.create_exclusive(temporary)
    try:
        with _Beside(encoder) as beside:
            for piece in decoded(plain, "", stop):
                durable_fs.write_all(fd, beside.compress(piece))
                feed(piece)
            durable_fs.write_all(fd, beside.flush())
        state = plain.lstat()
        if (state.st_uid, state.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(fd, state.st_uid, state.st_gid)
        os.fchmod(fd, state.st_mode & 0o7777)
        os.utime(fd, ns=(state.st_atime_ns, state.st_mtime_ns))
        durable_fs.fsync(fd)
    finally:
        os.close(fd)
    return identity


def check_equal(path: Path, form: str, expected_sha256: str, stop: threading.Event) -> None:
    """Raises SegmentChanged unless the file decompresses to exactly the plain bytes."""
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
            "its records are not the ones its ends told of",
            path=path,
            hint="Run auditctl verify on the directory.",
        )
