from __future__ import annotations

import gzip
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from auditlog.reading.decompression import NotWhole
from auditlog.reading.reader import open_segment

if TYPE_CHECKING:
    from pathlib import Path


def pack(content: bytes, *, checksum: bool = True, streamed: bool = False) -> bytes:
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=checksum)
    if not streamed:
        return compressor.compress(content)
    stream = compressor.compressobj()  # which does not know the size beforehand
    return stream.compress(content) + stream.flush()


Frame = tuple[bytes, bool, bool]  # content, with a checksum, streamed


@given(
    frames=st.lists(
        st.tuples(
            st.binary(max_size=50) | st.sampled_from([b"\0" * 300_000, b"line\n" * 70_000]),
            st.booleans(),
            st.booleans(),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_same(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[bytes, bool, bool]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "segment.zst"
    path.write_bytes(b"".join(pack(c, checksum=s, streamed=m) for c, s, m in frames))
    with open_segment(path) as stream:
        assert stream.read() == b"".join(content for content, _, _ in frames)


@given(
    st.lists(st.binary(max_size=50) | st.sampled_from([b"\0" * 300_000]), min_size=1, max_size=3)
)
def test_same_of_gzip_members(
    tmp_path_factory: pytest.TempPathFactory, members: list[bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / "segment.gz"
    path.write_bytes(b"".join(map(gzip.compress, members)))
    with open_segment(path) as stream:
        assert stream.read() == b"".join(members)


@pytest.mark.parametrize("form", [".zst", ".gz"])
def test_bounded(tmp_path: Path, form: str) -> None:
    path, size = tmp_path / f"segment{form}", 64 << 20
    content = b"\0" * size
    path.write_bytes(pack(content) if form == ".zst" else gzip.compress(content))
    del content
    tracemalloc.start()
    try:
        with open_segment(path) as stream:
            assert sum(map(len, iter(lambda: stream.read(1 << 16), b""))) == size
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size // 16


def read_into(pieces: list[bytes], path: Path) -> None:
    with open_segment(path) as stream:
        while piece := stream.read1(1 << 20):
            pieces.append(piece)


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_cut_off(tmp_path: Path, checksum: bool, streamed: bool) -> None:
    content = b"".join(b"%d\n" % number for number in range(200))
    first = pack(content, checksum=checksum, streamed=streamed)
    whole = first + pack(b"more\n" * 50_000, checksum=checksum, streamed=streamed)
    path = tmp_path / "segment.zst"
    for end in {*range(len(whole))} - {len(first)}:
        path.write_bytes(whole[:end])
        read: list[bytes] = []
        with pytest.raises(NotWhole):
            read_into(read, path)
        if end > len(first):
            assert b"".join(read).startswith(content)


def test_cut_off_gzip_members(tmp_path: Path) -> None:
    """A byte of it can hold more than there was room for when it was read."""
    path = tmp_path / "segment.gz"
    whole = gzip.compress(b"\n" * ((1 << 18) + 30_000))
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        got: list[bytes] = []
        with pytest.raises(NotWhole):
            read_into(got, path)
        assert b"".join(got) == zlib.decompressobj(wbits=31).decompress(whole[:cut])


@pytest.mark.parametrize("size", [40, 600_000])
@pytest.mark.parametrize("trailer", [-8, -1], ids=["checksum", "length"])
def test_what_stands_before_a_wrong_end_of_a_gzip_member_is_read(
    tmp_path: Path, size: int, trailer: int
) -> None:
    content = b"line\n" * (size // 5)
    member = gzip.compress(content)
    damaged = bytearray(member)
    damaged[trailer] ^= 1
    path = tmp_path / "segment.gz"
    path.write_bytes(member + damaged + member)
    got: list[bytes] = []
    with pytest.raises(NotWhole, match="incorrect"):
        read_into(got, path)
    assert b"".join(got) == content + content


def test_a_changed_byte_is_not_passed_over(tmp_path: Path) -> None:
    packed = bytearray(pack(b"".join(b"%d\n" % number for number in range(3000))))
    packed[len(packed) // 2] ^= 1
    path = tmp_path / "segment.zst"
    path.write_bytes(packed)
    with open_segment(path) as stream, pytest.raises(NotWhole):
        stream.read()


def test_a_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link.zst").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic link"):
        open_segment(tmp_path / "link.zst")


@pytest.mark.parametrize("padding", [1, 511, 1 << 20])
def test_nul_bytes_behind_a_gzip_member_are_padding(tmp_path: Path, padding: int) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n") + bytes(padding))
    with open_segment(path) as stream:
        assert stream.read() == b"one\ntwo\n"


def test_a_zstd_frame_that_needs_more_than_we_have_says_what(tmp_path: Path) -> None:
    wide = zstandard.ZstdCompressionParameters.from_level(
        1, window_log=28, write_content_size=False
    )
    params = zstandard.ZstdCompressionParameters.from_level(1, write_dict_id=True)
    trained = zstandard.train_dictionary(2000, [b"line %d of many" % n for n in range(2000)])
    frames = {
        "window": zstandard.ZstdCompressor(compression_params=wide).compressobj(),
        "dictionary": zstandard.ZstdCompressor(
            dict_data=trained, compression_params=params
        ).compressobj(),
    }
    for word, frame in frames.items():
        path = tmp_path / f"{word}.zst"
        path.write_bytes(frame.compress(b"line 5 of many\n" * 1000) + frame.flush())
        with open_segment(path) as stream, pytest.raises(NotWhole, match=word):
            stream.read()


@pytest.mark.parametrize("where", ["front", "between", "end", "alone"])
def test_a_zstd_frame_of_another_programs_data_is_skipped(tmp_path: Path, where: str) -> None:
    """As pzstd and the seekable format write them (RFC 8878, 3.1.2)."""
    skipped = b"\x5e\x2a\x4d\x18" + (300).to_bytes(4, "little") + bytes(300)
    one, two = pack(b"one\n"), pack(b"two\n")
    content = {
        "front": skipped + one + two,
        "between": one + skipped + two,
        "end": one + two + skipped,
        "alone": skipped + skipped,
    }[where]
    path = tmp_path / "x.zst"
    path.write_bytes(content)
    pieces: list[bytes] = []
    read_into(pieces, path)
    assert b"".join(pieces) == (b"" if where == "alone" else b"one\ntwo\n")
    path.write_bytes(content[:-1])
    with pytest.raises(NotWhole):
        read_into([], path)
