"""Reading a segment to its last byte."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.errors import LogDamaged
from auditlog.format.record import log_prefix, seal
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import scan
from auditlog.reading.reader import bounds
from retention.content import Content, SegmentCheck, inspect
from retention.errors import SegmentChanged, SegmentDamaged, Stopped
from tests.support.logs import LogBuilder, make_line, write_log

if TYPE_CHECKING:
    from pathlib import Path

LOG = LogId("queen-rbee", "hive1")
GO = threading.Event()


def content_of(path: Path, form: str = "") -> Content:
    return inspect(path, form, LOG, GO)[0]


@pytest.mark.parametrize("form", [".zst", ".gz"])
def test_all_forms(daily: LogBuilder, form: str) -> None:
    plain = content_of(daily.paths[3])
    packed = daily.compress(3, form)
    assert content_of(packed, form) == plain
    assert plain.bounds.first_seq == 31
    assert plain.bounds.records == 10
    assert plain.size_bytes == sum(len(line) for line in daily.lines[30:40])


def test_the_digest_is_what_sha256sum_says(daily: LogBuilder) -> None:
    said = subprocess.run(
        ["sha256sum", daily.paths[0]], capture_output=True, check=True, text=True
    ).stdout.split()[0]
    assert content_of(daily.paths[0]).sha256 == said


def test_the_ends_are_what_the_reader_says(daily: LogBuilder) -> None:
    files = scan(daily.directory).logs[LOG]
    assert [file.path for file in files] == daily.paths
    for file in files:
        assert content_of(file.path).bounds == bounds(file)


def test_several_frames_are_one_segment(daily: LogBuilder) -> None:
    plain = daily.paths[3]
    wanted, data = content_of(plain), plain.read_bytes()
    packed = plain.with_name(plain.name + ".zst")
    compressor = zstandard.ZstdCompressor()
    packed.write_bytes(compressor.compress(data[:77]) + compressor.compress(data[77:]))
    assert content_of(packed, ".zst") == wanted


@pytest.mark.parametrize("form", ["", ".zst", ".gz"])
def test_any_byte(log_directory: Path, form: str) -> None:
    built = write_log(log_directory, records=3)
    path = built.paths[0] if form == "" else built.compress(0, form)
    wanted = content_of(path, form)
    whole = path.read_bytes()
    step = 1 if form else 3
    for at in range(0, len(whole), step):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x01]) + whole[at + 1 :])
        _expect_damage(path, form, wanted, at, changed=True)
        path.write_bytes(whole[:at])
        _expect_damage(path, form, wanted, at, changed=False)


def _expect_damage(path: Path, form: str, wanted: Content, at: int, *, changed: bool) -> None:
    try:
        found = content_of(path, form)
    except SegmentDamaged:
        return
    if changed:  # a few header bits of a compressed file mean nothing (gzip's time stamp)
        assert form, at
        assert found == wanted
    else:  # a plain segment cut between two records is a whole, shorter one: the bounds tell
        assert not form, at
        assert path.read_bytes().endswith(b"\n")
        assert found.bounds != wanted.bounds


def test_bounded(tmp_path: Path) -> None:
    """Memory is measured in a process of its own, over a segment far larger than it may take.

    By VmHWM: ru_maxrss begins with what whoever started it had.
    """
    built = write_log(tmp_path, records=50, details={"text": "x" * 60_000})
    packed = built.compress(0)
    code = (
        "import sys, threading; from pathlib import Path\n"
        "from auditlog.format.segment_names import LogId\n"
        "from retention.content import decoded\n"
        "path, form = Path(sys.argv[1]), sys.argv[2]\n"
        "def peak():\n"
        "    status = open('/proc/self/status').read().split()\n"
        "    return int(status[status.index('VmHWM:') + 1])\n"
        "before = peak()\n"
        "total = sum(len(piece) for piece in decoded(path, form, threading.Event()))\n"
        "print(total, peak() - before)\n"
    )
    big = tmp_path / "big.zst"
    frame = zstandard.ZstdCompressor().compress(b"\0" * (256 << 20))
    big.write_bytes(frame)
    for path in (packed, big):
        ran = subprocess.run(
            [sys.executable, "-c", code, path, ".zst"], capture_output=True, check=True, text=True
        )
        total, grown_kib = map(int, ran.stdout.split())
        assert grown_kib < 64 << 10
    assert total == 256 << 20


@settings(max_examples=50)
@given(sizes=st.lists(st.integers(1, 4000), min_size=1, max_size=30))
def test_pieces_of_any_size_give_the_same_content(sizes: list[int]) -> None:
    lines, digest = [], "0" * 64
    for seq in range(1, 9):
        line, digest = make_line(str(LOG), seq, digest)
        lines.append(line)
    data, results = b"".join(lines), []
    for cuts in ([len(data)], sizes):
        check, at, turn = SegmentCheck(path=None, log=LOG), 0, 0  # type: ignore[arg-type]  # only for errors
        while at < len(data):
            size = cuts[turn % len(cuts)]
            check.feed(data[at : at + size])
            at, turn = at + size, turn + 1
        results.append(check.finish())
    assert results[0] == results[1]


def test_a_record_of_another_log_is_damage(tmp_path: Path) -> None:
    built = write_log(tmp_path, log="rbee-hive@hive1")
    with pytest.raises(SegmentDamaged, match="belongs to the log rbee-hive@hive1"):
        content_of(built.paths[0])


@pytest.mark.parametrize(
    ("order", "reason"), [((0, 2), "seq gap"), ((0, 0), "seq repeat"), ((0, 1, 1), "seq repeat")]
)
def test_removed_and_repeated_records_are_damage(
    tmp_path: Path, order: tuple[int, ...], reason: str
) -> None:
    built = write_log(tmp_path, records=3)
    built.paths[0].write_bytes(b"".join(built.lines[index] for index in order))
    with pytest.raises(SegmentDamaged, match=reason):
        content_of(built.paths[0])


@pytest.mark.parametrize("strange", [b"\0", b"\r", b"\n"])
def test_a_strange_byte_is_damage_even_where_its_hash_is_right(
    tmp_path: Path, strange: bytes
) -> None:
    built = write_log(tmp_path, records=1)
    body = b'"event_type":"x","details":{"text":"' + strange + b'"}'
    line, _ = seal(log_prefix(str(LOG)), 2, built.hash, "2026-11-23T07:12:00.000000Z", body)
    built.append_raw(line)
    with pytest.raises(SegmentDamaged, match="not a record"):
        content_of(built.paths[0])


@pytest.mark.parametrize("data", [b"", b"x" * 70_000, b"x" * 70_000 + b"\n", b"\n"])
def test_a_file_without_records_is_damage(tmp_path: Path, data: bytes) -> None:
    path = write_log(tmp_path).paths[0]
    path.write_bytes(data)
    with pytest.raises(SegmentDamaged):
        content_of(path)


def test_a_symlink_a_directory_and_nothing_at_all_are_refused(tmp_path: Path) -> None:
    path = write_log(tmp_path).paths[0]
    link = tmp_path / "link"
    link.symlink_to(path)
    for other in (link, tmp_path, tmp_path / "none"):
        with pytest.raises(SegmentChanged):
            content_of(other)


def test_a_stop_is_heeded(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        inspect(write_log(tmp_path).paths[0], "", LOG, stop)


def test_errors_say_where_and_never_what(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=3, details={"text": "top-secret"})
    path = built.paths[0]
    whole = path.read_bytes()
    at = whole.index(b"top-secret", len(built.lines[0]))
    path.write_bytes(whole[:at] + b"T" + whole[at + 1 :])
    with pytest.raises(SegmentDamaged) as caught:
        content_of(path)
    text = str(caught.value)
    assert caught.value.offset == len(built.lines[0])
    assert caught.value.seq == 2
    assert str(path) in text
    assert "secret" not in text
    assert not isinstance(caught.value, LogDamaged)
