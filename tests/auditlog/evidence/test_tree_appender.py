"""A tree that follows a log through everything that may lawfully happen to its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.errors import LogDamaged
from auditlog.evidence.leaves import DELETED_LEAF
from auditlog.evidence.merkle import leaf_hash
from auditlog.evidence.tree_appender import TreeAppender
from auditlog.evidence.tree_store import TreeStore
from auditlog.format.segment_names import LogId
from auditlog.format.tombstones import Tombstone, by_log
from auditlog.reading.inventory import SegmentFile, scan
from auditlog.reading.tombstone_scan import tombstones_in
from tests.auditlog.verification.test_verify import delete
from tests.support.logs import LogBuilder, write_log
from tests.support.trees import defined_root

LOG = "queen-rbee@hive1"
OPENED: list[TreeAppender] = []


def new_log(directory: Path) -> LogBuilder:
    directory.mkdir()
    return LogBuilder(directory, LOG)


def whole_log(directory: Path, **options: Any) -> LogBuilder:
    directory.mkdir()
    return write_log(directory, LOG, **options)


def segments_in(directory: Path) -> tuple[SegmentFile, ...]:
    return scan(directory).logs[LogId.parse(LOG)]


def tombstones(directory: Path) -> Sequence[Tombstone]:
    return by_log(tombstones_in(scan(directory).logs)).get(LOG, ())


def appender_of(directory: Path, store: TreeStore) -> TreeAppender:
    appender = TreeAppender(LOG, store, lambda: tombstones(directory))
    OPENED.append(appender)
    return appender


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def root_of(lines: Sequence[bytes]) -> bytes:
    return defined_root([leaf_hash(line[:-1]) for line in lines])


@pytest.mark.parametrize("form", ["", ".zst", ".gz"])
def test_every_line(tmp_path: Path, form: str) -> None:
    log = whole_log(tmp_path / "logs", records=300, segments=3, details={"text": "x" * 3000})
    if form:
        log.compress(0, form)
        log.compress(1, form)
    store = TreeStore(tmp_path / "tree", 0)
    appender = appender_of(tmp_path / "logs", store)
    while appender.advance(segments_in(tmp_path / "logs"), max_bytes=1):
        pass
    assert store.size == 900
    assert store.root() == root_of(log.lines)
    assert appender.sealed
    store.sync()
    assert len(list((tmp_path / "tree/leaves").iterdir())) == 3


def test_every_line_of_a_log_that_grows_and_is_compressed_meanwhile(tmp_path: Path) -> None:
    log = new_log(tmp_path / "logs")
    store = TreeStore(tmp_path / "tree", 0)
    appender = appender_of(tmp_path / "logs", store)
    for number in range(1, 60):
        log.append()
        if number % 7 == 0:
            appender.advance(segments_in(tmp_path / "logs"))
        if number % 10 == 0:
            log.rotate()
            log.compress(number // 10 - 1)
    appender.advance(segments_in(tmp_path / "logs"))
    assert store.root() == root_of(log.lines)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=4))
def test_resumes(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    """The agent ends and begins while the log is at these sizes."""
    directory = tmp_path_factory.mktemp("log")
    log, size = new_log(directory / "logs"), 0
    for to in sorted(sizes):
        while len(log.lines) < to:
            log.append()
            if len(log.lines) % 8 == 0:
                log.rotate()
        store = TreeStore(directory / "tree", size)
        if log.lines:
            appender_of(directory / "logs", store).advance(segments_in(directory / "logs"))
        store.sync()
        assert (store.size, store.root()) == (to, root_of(log.lines))
        store.close()
        size = to


def test_whole_lines(tmp_path: Path) -> None:
    log = whole_log(tmp_path / "logs", records=3)
    whole = log.paths[0].read_bytes()
    store = TreeStore(tmp_path / "tree", 0)
    appender = appender_of(tmp_path / "logs", store)
    for size in range(0, len(whole) + 1, 7):
        log.paths[0].write_bytes(whole[:size])
        appender.advance(segments_in(tmp_path / "logs"))
        assert store.size == whole[:size].count(b"\n")
    log.paths[0].write_bytes(whole)
    appender.advance(segments_in(tmp_path / "logs"))
    assert store.root() == root_of(log.lines)


def test_missing(tmp_path: Path) -> None:
    log = whole_log(tmp_path / "logs", records=5, segments=4)
    content = log.paths[1].read_bytes()
    log.paths[1].unlink()
    store = TreeStore(tmp_path / "tree", 0)
    appender = appender_of(tmp_path / "logs", store)
    for _ in range(3):
        with pytest.raises(LogDamaged, match="records 6 to 10 are missing"):
            appender.advance(segments_in(tmp_path / "logs"))
        assert store.size == 5
    log.paths[1].write_bytes(content)
    appender.close()
    appender = appender_of(tmp_path / "logs", store)
    appender.advance(segments_in(tmp_path / "logs"))
    assert store.root() == root_of(log.lines)


@pytest.mark.parametrize("gone", [(0,), (0, 1), (1, 2)])
def test_missing_under_policy(tmp_path: Path, gone: tuple[int, ...]) -> None:
    log = whole_log(tmp_path / "logs", records=5, segments=4)
    delete(tmp_path / "logs", log, *gone)
    store = TreeStore(tmp_path / "tree", 0)
    appender_of(tmp_path / "logs", store).advance(segments_in(tmp_path / "logs"))
    leaves = [
        DELETED_LEAF if number // 5 in gone else leaf_hash(line[:-1])
        for number, line in enumerate(log.lines)
    ]
    assert store.root() == defined_root(leaves)
    assert store.files().root(20) == store.root()


@pytest.mark.parametrize("line", [b"rubbish\n", b"\n"])
def test_a_line_that_is_no_record_stops_it(tmp_path: Path, line: bytes) -> None:
    log = whole_log(tmp_path / "logs", records=3)
    with log.paths[0].open("ab") as stream:
        stream.write(line)
    store = TreeStore(tmp_path / "tree", 0)
    with pytest.raises(LogDamaged, match="not a record") as stopped:
        appender_of(tmp_path / "logs", store).advance(segments_in(tmp_path / "logs"))
    assert store.size == 3
    assert stopped.value.offset == len(b"".join(log.lines))


def test_a_segment_that_was_cut_is_noticed(tmp_path: Path) -> None:
    log = whole_log(tmp_path / "logs", records=3)
    store = TreeStore(tmp_path / "tree", 0)
    appender = appender_of(tmp_path / "logs", store)
    appender.advance(segments_in(tmp_path / "logs"))
    log.paths[0].write_bytes(log.lines[0])
    with pytest.raises(LogDamaged, match="shorter than it was"):
        appender.advance(segments_in(tmp_path / "logs"))
    assert appender.shrunk


def test_critical_is_noted(tmp_path: Path) -> None:
    log = new_log(tmp_path / "logs")
    store = TreeStore(tmp_path / "tree", 0)
    appender = appender_of(tmp_path / "logs", store)
    log.append()
    appender.advance(segments_in(tmp_path / "logs"))
    assert not appender.critical
    log.append(severity="critical")
    appender.advance(segments_in(tmp_path / "logs"))
    assert appender.critical
