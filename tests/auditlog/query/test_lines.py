from __future__ import annotations

import io
import os
import tracemalloc
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.query import lines as module
from auditlog.query.byte_search import SearchBuffer
from auditlog.query.lines import Block, backward, forward, last_block, turned_round

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import BinaryIO

    import pytest

LEAST = module._MIN_BYTES
PIECES = st.lists(
    st.sampled_from([b"alice", b"bob", b"\n", b"\n", b"\\u0061", b"\\", b"x" * 1000])
    | st.just(b"y" * (LEAST // 2)),
    max_size=60,
)
NEEDLES = st.sampled_from([(), (b"alice",), (b"alice", b"bob"), (b"none",)])


Lines = list[tuple[int, bytes]]


def expected(content: bytes, needles: tuple[bytes, ...], end: int | None) -> Lines:
    found: Lines = []
    at = 0
    for line in content[:end].split(b"\n"):
        whole = line + b"\n" if at + len(line) < len(content[:end]) else line
        wanted = not needles or any(needle in whole for needle in (*needles, b"\\u", b"\\/"))
        if whole and wanted and len(whole) <= LEAST // 2:
            found.append((at, whole))
        at += len(whole)
    return found


def lines_of(blocks: Iterable[Block]) -> Lines:
    return [line for block in blocks for line in block.lines]


def short(found: Lines) -> Lines:
    """Without lines that no record is as long as; how much of them comes is not promised."""
    return [(at, line) for at, line in found if line and len(line) < module._TOO_LONG_BYTES]


def segment(factory: pytest.TempPathFactory, pieces: list[bytes]) -> tuple[Path, bytes]:
    path, content = factory.getbasetemp() / "segment", b"".join(pieces)
    path.write_bytes(content)
    return path, content


@settings(max_examples=150)
@given(pieces=PIECES, needles=NEEDLES, cut=st.none() | st.integers(0, 2000))
def test_same(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[bytes],
    needles: tuple[bytes, ...],
    cut: int | None,
) -> None:
    path, content = segment(tmp_path_factory, pieces)
    with path.open("rb") as stream:
        found = lines_of(forward(stream, needles, path=path, end=cut, block_bytes=1))
    assert short(found) == short(expected(content, needles, cut))


@settings(max_examples=150)
@given(pieces=PIECES, needles=NEEDLES)
def test_backwards(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], needles: tuple[bytes, ...]
) -> None:
    path, content = segment(tmp_path_factory, pieces)
    fd = os.open(path, os.O_RDONLY)
    try:
        found = lines_of(backward(fd, len(content), needles, block_bytes=1))
    finally:
        os.close(fd)
    assert short(found) == short(expected(content, needles, None))[::-1]


@settings(max_examples=150)
@given(pieces=PIECES, needles=NEEDLES, cut=st.none() | st.integers(0, 2000))
def test_backwards_of_what_can_be_read_forwards_only(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[bytes],
    needles: tuple[bytes, ...],
    cut: int | None,
) -> None:
    path, content = segment(tmp_path_factory, pieces)
    with path.open("rb") as stream:
        found = lines_of(turned_round(forward(stream, needles, path=path, end=cut, block_bytes=1)))
    assert short(found) == short(expected(content, needles, cut))[::-1]


@settings(max_examples=150)
@given(pieces=PIECES, cut=st.none() | st.integers(0, 2000))
def test_backwards_by_the_last_block_and_then_the_rest(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], cut: int | None
) -> None:
    path, content = segment(tmp_path_factory, pieces)
    with path.open("rb") as stream:
        block, begin = last_block(stream, path=path, end=cut, block_bytes=1)
        assert begin + sum(len(line) for _, line in block.lines) == len(content[:cut])
        stream.seek(0)
        rest = turned_round(forward(stream, (), path=path, end=begin, block_bytes=1))
        found = lines_of((block, *rest))
    assert short(found) == short(expected(content, (), cut))[::-1]


def test_backwards_by_the_last_block_where_it_begins_within_a_line(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.write_bytes(content := b"".join(b"line %d\n" % number for number in range(90_000)))
    with path.open("rb") as stream:
        block, begin = last_block(stream, path=path, block_bytes=1)
    assert LEAST <= len(content) - begin <= 2 * LEAST
    assert block.lines == expected(content, (), None)[: -len(block.lines) - 1 : -1]
    assert block.edge == block.lines[-1][1]


def test_bounded(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    with path.open("wb") as file:
        file.write(b"a line\n" + b"x" * (40 << 20) + b"\n")
        for _ in range(20):
            file.write((b"y" * 999 + b"\n") * 1000)
        file.write(b"z" * (40 << 20))
    ways: list[Callable[[BinaryIO], Iterable[Block]]] = [
        lambda stream: forward(stream, (), path=path),
        lambda stream: backward(stream.fileno(), path.stat().st_size, ()),
        lambda stream: turned_round(forward(stream, (), path=path)),
        lambda stream: [last_block(stream, path=path, end=41 << 20)[0]],
    ]
    for way, least in zip(ways, (20_002, 20_002, 20_002, 1_000), strict=True):
        tracemalloc.start()
        with path.open("rb") as stream:
            lines = sum(len(block.lines) for block in way(stream))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert lines >= least
        assert peak < 16 << 20


def test_a_line_that_is_too_long_is_told_in_both_directions(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.write_bytes(b"a\n" + b"x" * (3 * LEAST) + b"\nb\n")
    with path.open("rb") as stream:
        found = lines_of(forward(stream, (), path=path, block_bytes=1))
        size = path.stat().st_size
        other = lines_of(backward(stream.fileno(), size, (), block_bytes=1))
    assert [at for at, _ in found] == [0, 2, 3 * LEAST + 3]
    assert [at for at, _ in other] == [3 * LEAST + 3, 2, 0]


def test_without_memmem_the_same_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = SearchBuffer(16)
    buffer.bytes[:] = b"..alice...alice."
    ranges = [(0, 16), (3, 16), (3, 14), (14, 16)]
    places = [buffer.find(b"alice", *span) for span in ranges]
    monkeypatch.setattr("auditlog.query.byte_search._FUNCTION", None)
    assert places == [buffer.find(b"alice", *span) for span in ranges] == [2, 10, -1, -1]


def test_the_edge_is_where_the_block_ends() -> None:
    stream = io.BufferedReader(io.BytesIO(b"1\n2\n3\n4"))  # type: ignore[arg-type]  # as good as a raw file
    (block, rest) = forward(stream, (b"none",), path=None)  # type: ignore[arg-type]  # only for errors
    assert (block.lines, block.edge) == ([], b"3\n")
    assert (rest.lines, rest.edge) == ([], b"")
