"""Compression that proves itself."""

from __future__ import annotations

import errno
import gzip
import os
import threading
from typing import TYPE_CHECKING

import pytest
import zstandard

from auditlog import durable_fs
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import SegmentFile, scan
from auditlog.reading.reader import Bounds, bounds
from auditlog.reading.selection import read
from retention.compress import Compressed, compress, remove_stale
from retention.content import Identity
from retention.errors import SegmentChanged, SegmentDamaged, Stopped
from retention.policy import RetentionPolicy
from tests.support.logs import LogBuilder, write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from retention.policy import Compression

LOG = LogId("queen-rbee", "hive1")


def first_segment(built: LogBuilder) -> tuple[SegmentFile, Bounds]:
    file = scan(built.directory).logs[LOG][0]
    ends = bounds(file)
    assert ends is not None
    return file, ends


def squeeze(
    built: LogBuilder, compression: Compression = "zstd", stop: threading.Event | None = None
) -> Compressed:
    file, ends = first_segment(built)
    return compress(file, ends, RetentionPolicy(compression=compression), stop or threading.Event())


def names(directory: Path) -> list[str]:
    """List the files of the first segment."""
    return sorted(path.name for path in directory.iterdir() if "11-23" in path.name)


@pytest.mark.parametrize("level", [None, 3])
def test_equal_with_a_long_window(log_directory: Path, level: int | None) -> None:
    """A repetition 9 MiB later is compressed away, and the reader reads the result."""
    noise = [os.urandom(1 << 14).hex() for _ in range(300)]
    built = LogBuilder(log_directory)
    log_directory.mkdir()
    for text in (*noise, *noise):
        built.append(1, details={"noise": text})
    built.rotate()
    built.append(1)
    original = built.paths[0].read_bytes()
    file, ends = first_segment(built)
    policy = RetentionPolicy(level=level, long_window_bytes=1 << 25)
    result = compress(file, ends, policy, threading.Event())
    assert zstandard.get_frame_parameters(result.path.read_bytes()).window_size > 1 << 23
    assert result.path.stat().st_size < len(original) * 0.3
    assert sum(1 for _ in read(result.path, log_events=True)) == 600


@pytest.mark.parametrize("level", [None, 1, 9])
@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_equal(daily: LogBuilder, compression: Compression, level: int | None) -> None:
    original = daily.paths[0].read_bytes()
    file, ends = first_segment(daily)
    result = compress(
        file, ends, RetentionPolicy(compression=compression, level=level), threading.Event()
    )
    packed = result.path.read_bytes()
    if compression == "zstd":
        assert zstandard.ZstdDecompressor().decompressobj().decompress(packed) == original
        assert zstandard.get_frame_parameters(packed).has_checksum
    else:
        assert gzip.decompress(packed) == original
    assert result.freed_bytes == len(original) - len(packed)
    assert names(daily.directory) == [result.path.name]


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_a_segment_of_several_pieces_is_compressed_whole(
    tmp_path: Path, compression: Compression
) -> None:
    big = write_log(tmp_path, records=900, segments=2, details={"text": "x" * 1000})
    original = big.paths[0].read_bytes()
    path = squeeze(big, compression).path
    with gzip.open(path) if path.suffix == ".gz" else zstandard.open(path) as stream:
        assert stream.read() == original


def test_damage_in_a_later_piece_is_found(tmp_path: Path) -> None:
    big = write_log(tmp_path, records=900, segments=2, details={"text": "x" * 1000})
    content = bytearray(big.paths[0].read_bytes())
    at = content.rindex(b"xx", 0, 800_000)
    content[at] = ord("y")
    big.paths[0].write_bytes(content)
    with pytest.raises(SegmentDamaged, match="hash mismatch"):
        squeeze(big)
    assert big.paths[0].read_bytes() == content


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_either(
    daily: LogBuilder,
    killed_at: Callable[[Callable[[], object], int], bool],
    compression: Compression,
) -> None:
    original, plain = daily.paths[0].read_bytes(), daily.paths[0]
    packed = plain.with_name(plain.name + (".zst" if compression == "zstd" else ".gz"))
    nth = 0
    while killed_at(lambda: squeeze(daily, compression), nth):
        if packed.exists():
            with gzip.open(packed) if packed.suffix == ".gz" else zstandard.open(packed) as stream:
                assert stream.read() == original
        else:
            assert plain.read_bytes() == original
        remove_stale(daily.directory)
        if plain.exists():
            squeeze(daily, compression)
        assert names(daily.directory) == [packed.name]
        packed.unlink()
        plain.write_bytes(original)
        nth += 1
    assert nth >= 6


def test_a_stale_temporary_file_goes_and_foreign_ones_stay(daily: LogBuilder) -> None:
    ours = daily.directory / f".{daily.paths[0].name}.zst.tmp"
    others = [daily.directory / name for name in (".x.tmp", ".x.ndjson.tmp", "y.tmp")]
    for path in (ours, *others):
        path.write_bytes(b"half")
    assert remove_stale(daily.directory) == [ours]
    assert all(path.exists() for path in others)


@pytest.mark.parametrize("form", [".zst", ".gz"])
def test_both_forms_heal(daily: LogBuilder, form: str) -> None:
    packed = daily.compress(0, form, keep_plain=True)
    kept = packed.read_bytes()
    assert squeeze(daily).path == packed
    assert names(daily.directory) == [packed.name]
    assert packed.read_bytes() == kept


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_two_forms_that_differ_stay_both(daily: LogBuilder, cut: int) -> None:
    packed = daily.compress(0, keep_plain=True)
    if cut:
        packed.write_bytes(packed.read_bytes()[:-cut])
    else:  # a whole one, of fewer records
        fewer = b"".join(daily.lines[:9])
        packed.write_bytes(zstandard.ZstdCompressor().compress(fewer))
    before = {path: path.read_bytes() for path in (daily.paths[0], packed)}
    with pytest.raises((SegmentChanged, SegmentDamaged)):
        squeeze(daily)
    assert {path: path.read_bytes() for path in before} == before


def test_untouched(daily: LogBuilder) -> None:
    plain = daily.paths[0]
    original = plain.read_bytes()
    file, ends = first_segment(daily)

    def refused(error: type[Exception]) -> None:
        before = Identity.at(plain) if plain.is_file() and not plain.is_symlink() else None
        with pytest.raises(error):
            compress(file, ends, RetentionPolicy(), threading.Event())
        assert before is None or Identity.at(plain) == before
        assert names(daily.directory) == [plain.name]

    middle = len(original) // 2
    plain.write_bytes(original[:middle] + b"!" + original[middle + 1 :])
    refused(SegmentDamaged)
    plain.write_bytes(b"".join(daily.lines[:9]))  # whole records, but not those the plan saw
    refused(SegmentDamaged)
    plain.write_bytes(original)
    elsewhere = daily.directory / "elsewhere"
    plain.rename(elsewhere)
    plain.symlink_to(elsewhere)
    refused(SegmentChanged)
    plain.unlink()
    with pytest.raises(SegmentChanged, match="vanished"):
        compress(file, ends, RetentionPolicy(), threading.Event())


def test_a_segment_that_is_written_to_meanwhile_stays(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, fsync = daily.paths[0], durable_fs.fsync

    def grow_and_sync(fd: int) -> None:
        with plain.open("ab") as file:
            file.write(daily.lines[10])
        fsync(fd)

    monkeypatch.setattr(durable_fs, "fsync", grow_and_sync)
    with pytest.raises(SegmentChanged, match="changed while it was read"):
        squeeze(daily)
    assert names(daily.directory) == [plain.name]
    assert plain.read_bytes() == b"".join(daily.lines[:11])


@pytest.mark.parametrize("step", ["create_exclusive", "write_all", "fsync", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
def test_an_error_of_the_disk_leaves_the_plain_segment_alone(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    original = daily.paths[0].read_bytes()
    monkeypatch.setattr(durable_fs, step, fail)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        squeeze(daily)
    assert caught.value.errno == number
    assert names(daily.directory) == [daily.paths[0].name]
    assert daily.paths[0].read_bytes() == original


def test_what_was_written_is_read_back_before_the_plain_segment_goes(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that stores something else than it was given."""
    write_all = durable_fs.write_all

    def write_wrong(fd: int, data: bytes) -> None:
        write_all(fd, data[:-1] + bytes([data[-1] ^ 1]) if data else data)

    monkeypatch.setattr(durable_fs, "write_all", write_wrong)
    with pytest.raises((SegmentChanged, SegmentDamaged)):
        squeeze(daily)
    assert names(daily.directory) == [daily.paths[0].name]


def test_attributes(daily: LogBuilder) -> None:
    plain = daily.paths[0]
    plain.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(plain, 12345, 23456)
    os.utime(plain, ns=(1_700_000_000_123_456_789, 1_700_000_000_987_654_321))
    before = plain.stat()
    after = squeeze(daily).path.stat()
    assert after.st_mtime_ns == before.st_mtime_ns
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )


def test_a_file_that_may_not_be_given_away_is_compressed_with_its_group_or_ones_own(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a legacy file of root's, when retention runs as the writers' user."""
    given: list[tuple[int, int]] = []

    def refuse(fd: int, user: int, group: int) -> None:
        given.append((user, group))
        raise PermissionError(1, "Operation not permitted")

    plain = daily.paths[0]
    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: plain.stat().st_uid + 1)
    state = plain.stat()
    assert squeeze(daily).path.exists()
    assert given == [(state.st_uid, state.st_gid), (-1, state.st_gid)]


def test_stops(daily: LogBuilder) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        squeeze(daily, stop=stop)
    assert names(daily.directory) == [daily.paths[0].name]


def test_a_stop_in_the_middle_is_heeded(daily: LogBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, write_all, sizes = threading.Event(), durable_fs.write_all, []
    daily.append_raw(b"")
    big = daily.directory / daily.paths[0].name
    built_lines = daily.make(3000, details={"text": os.urandom(150).hex()})
    big.write_bytes(b"".join(built_lines))

    def write_and_stop(fd: int, data: bytes) -> None:
        sizes.append(len(data))
        stop.set()
        write_all(fd, data)

    monkeypatch.setattr(durable_fs, "write_all", write_and_stop)
    with pytest.raises(Stopped):
        squeeze(daily, stop=stop)
    assert len(sizes) == 1
    assert names(daily.directory) == [big.name]
