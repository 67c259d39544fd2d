from __future__ import annotations

import errno
import gzip
import itertools
import os
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.format.foreign_files import FilePlace
from shippers.item import Document
from shippers.sources.ndjson.file import FileHarvester
from shippers.sources.ndjson.file_bytes import FileState
from shippers.sources.ndjson.line import LineFormat
from tests.support.logs import LogBuilder

FORM = LineFormat("app", "hive1")
LONG_AGO = 1_000_000.0


def state(path: Path) -> FileState:
    found = path.stat()
    return FileState(path, (found.st_dev, found.st_ino), found.st_size, found.st_mtime)


def harvester(
    path: Path, start: FilePlace | None = None, known: Any = lambda _: (), **options: Any
) -> FileHarvester:
    options = {"max_line_bytes": 1 << 16, **options}
    return FileHarvester("app", state(path), FORM, start, known=known, **options)


def read_all(reader: FileHarvester, records: int = 1000) -> list[Document]:
    documents = []
    while (batch := reader.read(1 << 16, records)) is not None:
        documents += batch.items
    return documents


def texts(documents: list[Document]) -> list[Any]:
    return [
        value.get("n", value.get("message")) for value in map(orjson.loads, lines_of(documents))
    ]


def by_number(documents: list[Document]) -> dict[tuple[int, ...], str]:
    """Ids by what the lines have as n, which no two have alike."""
    return {tuple(n): d.id for n, d in zip(texts(documents), documents, strict=True)}


def lines_of(documents: list[Document]) -> Iterator[bytes]:
    return (document.line for document in documents)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@settings(max_examples=60)
@given(cuts=st.lists(st.integers(0, 120), max_size=8), unit=st.sampled_from([b"\n", b"\r\n"]))
def test_whole_lines(cuts: list[int], unit: bytes) -> None:
    """whole_lines: a line that may still grow is never given out"""
    content = b"".join(b'{"n":%d}' % n + unit for n in range(10))
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "app.log"
        path.touch()
        reader = harvester(path)
        given_out: list[Document] = []
        for end in [*sorted(cuts), len(content)]:
            path.write_bytes(content[:end])
            given_out += read_all(reader)
            assert len(given_out) == content[:end].count(b"\n")
        assert texts(given_out) == list(range(10))
        reader.close()


@settings(max_examples=60)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=20), batch=st.integers(1, 5))
def test_resumes(sizes: list[int], batch: int) -> None:
    """resumes: from any place given out, exactly the lines behind it follow"""
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "app.log"
        rows = [b'{"n":%d,"x":"%b"}\n' % (n, b"x" * size) for n, size in enumerate(sizes)]
        path.write_bytes(b"\n".join(rows))  # with empty lines between them
        reader = harvester(path)
        places, documents = [], []
        while (read := reader.read(1 << 16, batch)) is not None:
            places += read.positions
            documents += read.items
        reader.close()
        assert texts(documents) == list(range(len(rows)))
        for count, place in enumerate(places, 1):
            again = harvester(path, place)
            following = [document.id for document in read_all(again, batch)]
            assert following == [document.id for document in documents[count:]]
            again.close()


@pytest.mark.parametrize(
    "place",
    [
        FilePlace("f" * 64, 9, 0, "e" * 64),
        FilePlace("f" * 64, 10**9, 0, "e" * 64),
        FilePlace("f" * 64, 0, 0, ""),
    ],
)
def test_other_file(path: Path, place: FilePlace) -> None:
    """other_file: a place that does not fit the file costs a re-read, and never a line"""
    path.write_bytes(b'{"n":0}\n{"n":1}\n')
    assert texts(read_all(harvester(path, place))) == [0, 1]
    reader = harvester(path)
    read_all(reader)
    position = reader.position
    assert position is not None
    path.write_bytes(b'{"n":0}\n{"n":5}\n{"n":6}\n')  # as long, and other than at the place
    assert texts(read_all(harvester(path, position))) == [0, 5, 6]
    assert texts(read_all(harvester(path, None, lambda _: [position]))) == [0, 5, 6]
    reader.seen(state(path))
    assert texts(read_all(reader)) == [0, 5, 6]
    assert reader.restarts == 1


changes = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 9)),
        st.tuples(st.just("read"), st.integers(1, 9)),
        st.tuples(st.just("truncate"), st.integers(0, 9)),
    ),
    max_size=30,
)


@settings(max_examples=150)
@given(steps=changes, padding=st.integers(0, 2))
def test_truncated(steps: list[tuple[str, int]], padding: int) -> None:
    """truncated: after whichever read a file is truncated and refilled, no line is mistaken"""
    with tempfile.TemporaryDirectory() as work:
        path, numbers = Path(work) / "app.log", itertools.count()
        path.touch()
        reader = harvester(path)
        given_out: list[Document] = []
        allowed: set[str] = set()

        def append(count: int) -> None:
            with path.open("ab") as file:
                for n in itertools.islice(numbers, count):
                    file.write(b'{"n":%d,"x":"%b"}\n' % (n, b"x" * (n * padding % 7)))

        for step, count in steps:
            if step == "append":
                append(count)
            elif step == "read":
                batch = reader.read(1 << 16, count)
                given_out += batch.items if batch else []
            else:
                allowed |= {document.id for document in read_all(harvester(path))}
                os.truncate(path, 0)
                append(count)
        given_out += read_all(reader)
        standing = {document.id for document in read_all(harvester(path))}
        assert standing <= {document.id for document in given_out} <= standing | allowed
        reader.close()


def test_truncated_in_the_middle_of_a_read(path: Path) -> None:
    """truncated: each line is given out under the first line it was written behind"""
    contents = [
        b"".join(b'{"n":[%d,%d]}\n' % (c, n) for n in range(20 + 13 * c % 50)) for c in range(500)
    ]
    ids: dict[tuple[int, ...], str] = {}
    for content in contents:
        path.write_bytes(content)
        ids |= by_number(read_all(harvester(path)))
    enough = threading.Event()

    def rotate() -> None:
        with path.open("ab", buffering=0) as file:
            for content in itertools.chain.from_iterable(itertools.repeat(contents)):
                file.truncate(0)
                file.write(content)
                if enough.is_set() and content is contents[-1]:
                    return

    program = threading.Thread(target=rotate)
    os.truncate(path, 0)
    reader = harvester(path)
    documents: list[Document] = []
    program.start()
    give_up_at = time.monotonic() + 60
    while reader.restarts < 100 and time.monotonic() < give_up_at:
        batch = reader.read(1 << 16, 7)
        documents += batch.items if batch else []
    enough.set()
    program.join()
    documents += read_all(reader)
    assert reader.restarts >= 100
    assert by_number(documents).items() <= ids.items()
    assert [499, 0] in texts(documents)
    assert texts(documents)[-1] == [499, contents[-1].count(b"\n") - 1]
    reader.close()


def test_a_write_that_no_mtime_tells_of_is_seen_by_the_next_look(path: Path) -> None:
    path.write_bytes(b'{"n":1}\n')
    reader = harvester(path)
    assert texts(read_all(reader)) == [1]
    before = state(path)
    os.truncate(path, 0)
    path.write_bytes(b'{"n":2}\n')
    os.utime(path, (before.mtime, before.mtime))
    now = FileState(path, before.key, path.stat().st_size, before.mtime)
    assert now == before, "as it is where time goes in steps"
    assert reader.seen(now)
    assert texts(read_all(reader)) == [2]
    reader.close()


@pytest.mark.parametrize("form", [".gz", ".zst"])
def test_a_compressed_file_that_is_open_is_read_on_when_its_name_goes_to_another(
    tmp_path: Path, form: str
) -> None:
    def packed(beginning: int) -> bytes:
        rows = b"".join(b'{"n":%d}\n' % n for n in range(beginning, beginning + 10))
        return gzip.compress(rows) if form == ".gz" else zstandard.compress(rows)

    path = tmp_path / f"app.log.1{form}"
    path.write_bytes(packed(0))
    reader = harvester(path)
    batch, following = reader.read(1 << 16, 4), reader.read(1 << 16, 4)
    assert batch is not None
    assert following is not None
    path.rename(tmp_path / f"app.log.2{form}")
    path.write_bytes(packed(100))
    reader.rewind(batch.positions[1])
    assert texts(read_all(reader)) == list(range(2, 10))
    reader.close()


def test_cut(path: Path) -> None:
    """cut: a line of any length takes bounded memory, and holds up no other file"""
    size = 64 << 20
    with path.open("wb") as file:
        file.write(b'{"n":0}\n')
        for _ in range(size >> 20):
            file.write(b"y" * (1 << 20))
        file.write(b'\n{"n":1}\n')
    reader = harvester(path)
    tracemalloc.start()
    turns, batches = 0, []
    while (batch := reader.read(1 << 20, 1000)) is not None:
        turns += 1
        batches.append(batch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    documents = [document for batch in batches for document in batch.items]
    assert [len(batch) for batch in batches].count(0) >= 10, "others had their turn meanwhile"
    assert peak < 16 << 20
    first, cut, last = map(orjson.loads, lines_of(documents))
    assert (first["n"], last["n"]) == (0, 1)
    assert cut["message"] == "y" * (1 << 16)
    assert cut["auditlog"]["source"]["error"] == {
        "type": "truncated",
        "message": f"the line of {size} bytes was cut to {1 << 16}",
    }
    assert sum(batch.cut_lines for batch in batches) == 1
    other = harvester(path, max_line_bytes=1 << 20)
    ids = [document.id for document in read_all(other)]
    assert ids == [document.id for document in documents], "however much of it is kept"
    reader.close()
    other.close()


@pytest.mark.parametrize("before", [b"", b'{"n":0}\n'])
def test_a_line_too_long_of_a_file_that_is_old_is_cut_once(path: Path, before: bytes) -> None:
    """An old file is closed after each turn, and found again in the middle of the line."""
    path.write_bytes(before + b"y" * (20 << 20) + b'\n{"n":1}\n')
    os.utime(path, (LONG_AGO, LONG_AGO))
    reader = harvester(path)
    given_out = []
    for _ in range(20):
        if (batch := reader.read(1 << 20, 1000)) is None:
            break
        given_out += batch.items
    *_, cut, last = (orjson.loads(line) for line in lines_of(given_out))
    assert cut["auditlog"]["source"]["error"]["type"] == "truncated"
    assert last["n"] == 1
    assert len(given_out) == 2 + bool(before)
    assert reader.restarts == 0


def test_a_line_too_long_that_grows_slowly_is_cut_once_it_ends(path: Path) -> None:
    path.write_bytes(b"z" * 100_000)
    reader = harvester(path)
    for _ in range(5):
        assert read_all(reader) == []
        with path.open("ab") as file:
            file.write(b"z" * 100_000)
    with path.open("ab") as file:
        file.write(b'\r\n{"n":1}\n')
    cut, after = (orjson.loads(line) for line in lines_of(read_all(reader)))
    assert (
        cut["auditlog"]["source"]["error"]["message"] == "the line of 600000 bytes was cut to 65536"
    )
    assert after["n"] == 1
    reader.close()


def test_a_whole_object_without_its_end_is_given_out_once_it_has_settled(path: Path) -> None:
    path.write_bytes(b'{"n":0}\n{"n":1}')
    reader = harvester(path)
    assert texts(read_all(reader)) == [0]
    assert reader.has_tail
    os.utime(path, (time.time(), time.time() - 10))
    assert reader.seen(state(path))
    first = read_all(reader)
    assert texts(first) == [1]
    with path.open("ab") as file:
        file.write(b'\n{"n":2}\n')
    assert texts(read_all(reader)) == [2]
    again = read_all(harvester(path))
    assert [d.id for d in again][1] == first[0].id, "with its LF it is the same"
    reader.close()


def test_half_a_line_waits_for_its_end_much_longer(path: Path) -> None:
    path.write_bytes(b'{"n":0}\n{"n":')
    os.utime(path, (time.time(), time.time() - 60))
    reader = harvester(path)
    assert texts(read_all(reader)) == [0]
    with path.open("ab") as file:
        file.write(b"1}\n{")
    assert texts(read_all(reader)) == [1]
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert texts(read_all(reader)) == ["{"]


ZEROS = {
    "a block of zeros, as a crash leaves it": 4096,
    "more zeros than are looked through at once": 9 << 20,
}


@pytest.mark.parametrize("count", ZEROS.values(), ids=ZEROS)
@pytest.mark.parametrize("hole", [True, False])
def test_zeros_behind_lines_are_passed_over_when_something_follows(
    path: Path, count: int, hole: bool
) -> None:
    path.write_bytes(b'{"n":0}\n{"n":1}\n')
    with path.open("ab") as file:
        if hole:
            file.truncate(file.tell() + count)
        else:
            file.write(bytes(count))
    reader = harvester(path)
    assert texts(read_all(reader)) == [0, 1]
    assert (reader.exhausted, reader.lag_bytes(), reader.has_tail) == (True, 0, False)
    with path.open("ab") as file:
        file.write(b'{"n":2}\n')
    assert reader.seen(state(path))
    assert texts(read_all(reader)) == [2]
    assert texts(read_all(harvester(path))) == [0, 1, 2]


def test_a_line_that_zeros_cut_off_is_given_out_when_something_follows(path: Path) -> None:
    path.write_bytes(b'{"n":0}\n{"n":' + bytes(9 << 20) + b'{"n":2}\n')
    assert texts(read_all(harvester(path))) == [0, '{"n":', 2]


@pytest.mark.parametrize("count", ZEROS.values(), ids=ZEROS)
def test_room_that_is_reserved_is_read_as_it_is_filled(path: Path, count: int) -> None:
    path.write_bytes(bytes(count))
    reader = harvester(path)
    assert texts(read_all(reader)) == []
    with path.open("r+b") as file:
        for n in range(5):
            file.write(b'{"n":%d}\n' % n)
            file.flush()
            assert reader.seen(state(path))
            assert texts(read_all(reader)) == [n]
            assert reader.lag_bytes() == 0
        file.write(b'{"n":5}')
        file.flush()
        os.utime(path, (time.time(), time.time() - 10))
        assert reader.seen(state(path))
        assert texts(read_all(reader)) == [5], "a whole object that has settled"
        file.write(b'\n{"n":6}\n')
        file.truncate()
    assert reader.seen(state(path))
    assert texts(read_all(reader)) == [6]
    assert texts(read_all(harvester(path))) == [0, 1, 2, 3, 4, 5, 6]


def test_a_file_of_only_half_a_line_and_an_empty_one_have_no_identity_yet(path: Path) -> None:
    path.touch()
    reader = harvester(path)
    assert read_all(reader) == []
    path.write_bytes(b'{"n":')
    assert read_all(reader) == []
    path.write_bytes(b'{"n":0}\n')
    assert texts(read_all(reader)) == [0]
    os.truncate(path, 0)
    assert read_all(reader) == []
    path.write_bytes(b'{"n":7}\n')
    assert texts(read_all(reader)) == [7]
    reader.close()


def test_our_own_logs_can_be_read_as_any_others(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path)
    log.append(5)
    documents = read_all(harvester(log.active))
    assert [orjson.loads(line)["seq"] for line in lines_of(documents)] == [1, 2, 3, 4, 5]
    assert {document.day for document in documents} == {"2026-11-23"}


def test_an_error_while_it_is_read_names_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b'{"n":0}\n')
    reader = harvester(path)

    def stale(*_: object) -> bytes:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "pread", stale)
    with pytest.raises(OSError, match=r"Stale file handle: '.*app\.log'"):
        reader.read(1 << 16, 10)
    reader.close()


def test_a_file_that_is_old_holds_no_descriptor(path: Path) -> None:
    path.write_bytes(b'{"n":0}\n' * 10)
    os.utime(path, (LONG_AGO, LONG_AGO))
    reader = harvester(path)
    assert reader.read(1 << 16, 5) is not None
    assert reader._open is None
    assert len(read_all(reader)) == 5
    assert reader.lag_bytes() == 0
    path.write_bytes(b'{"n":0}\n' * 11)
    reader.seen(state(path))
    assert len(read_all(reader)) == 1
    assert reader._open is not None
    reader.close()
