"""Cursors: what was saved is loaded, and a torn file costs one step and not the position."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog.cursors import Cursor, CursorStore, SourceCursor
from auditlog.errors import CursorDamaged, InvalidName
from auditlog.format.segment_names import LogId
from tests.support.durable_steps import note_steps

LOG = "queen-rbee@hive1"
OLD = Cursor(
    log=LOG,
    segment=f"{LOG}.2026-11-23.0001.ndjson",
    offset=1024,
    seq=7,
    hash="ab" * 32,
    at=dt.datetime(2026, 11, 23, 7, 12, tzinfo=dt.UTC),
)
NEW = replace(OLD, offset=2048, seq=9, hash="cd" * 32, gaps=((2, 3), (8, 8)), unverified=((4, 6),))

cursors = st.builds(
    Cursor,
    log=st.just(LOG),
    segment=st.text(),
    offset=st.integers(0, 2**63),
    seq=st.integers(0, 2**63),
    hash=st.text("0123456789abcdef", min_size=64, max_size=64),
    at=st.datetimes(dt.datetime(1970, 1, 1), timezones=st.just(dt.UTC)),  # noqa: DTZ001  (see timezones)
    gaps=st.lists(st.tuples(st.integers(1, 2**63), st.integers(1, 2**63))).map(tuple),
    unverified=st.lists(st.tuples(st.integers(1, 2**63), st.integers(1, 2**63))).map(tuple),
)


@given(cursor=cursors)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=30,
)
def test_round_trip(tmp_path: Path, cursor: Cursor) -> None:
    store = CursorStore(tmp_path)
    store.save("main", cursor)
    assert store.load("main", LOG) == cursor
    assert store.load("main", LogId.parse(LOG)) == cursor


def test_a_cursor_without_unverified_records_is_one_that_older_programs_can_read(
    tmp_path: Path,
) -> None:
    store = CursorStore(tmp_path)
    store.save("main", OLD)
    assert b"unverified" not in store.path("main", LOG).read_bytes()
    store.save("main", NEW)
    assert b'"unverified":[[4,6]]' in store.path("main", LOG).read_bytes()


def test_torn(tmp_path: Path) -> None:
    store = CursorStore(tmp_path)
    store.save("main", OLD)
    store.save("main", NEW)
    path = store.path("main", LOG)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert store.load("main", LOG) == OLD, f"cut at {cut}"
    for position in range(len(whole)):
        for flip in (0x01, 0x80):
            changed = bytearray(whole)
            changed[position] ^= flip
            path.write_bytes(changed)
            assert store.load("main", LOG) == OLD, f"byte {position} changed"
    path.unlink()
    assert store.load("main", LOG) == OLD, "a crash between the two renames"
    path.write_bytes(whole)
    assert store.load("main", LOG) == NEW


def test_both_gone(tmp_path: Path) -> None:
    store = CursorStore(tmp_path)
    assert store.load("main", LOG) is None
    store.save("main", OLD)
    store.save("main", NEW)
    path = store.path("main", LOG)
    previous = path.with_name(path.name + ".prev")
    path.write_bytes(b"")
    previous.write_bytes(b"nonsense")
    with pytest.raises(CursorDamaged) as refusal:
        store.load("main", LOG)
    assert refusal.value.path == path
    assert "Remove both files" in str(refusal.value)
    path.unlink()
    with pytest.raises(CursorDamaged):
        store.load("main", LOG)
    previous.unlink()
    assert store.load("main", LOG) is None


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b'{"v":2}',
        b"{}",
        b'{"v":1}',
        b'{"v":1,"log":"queen-rbee@hive1","segment":"s","offset":"1","seq":1,"hash":"","at":"2026"}',
    ],
)
def test_a_file_of_another_version_is_damaged_and_not_a_crash(tmp_path: Path, body: bytes) -> None:
    store = CursorStore(tmp_path)
    store.save("main", OLD)
    store.path("main", LOG).write_bytes(b"%b %08x\n" % (body, zlib.crc32(body)))
    with pytest.raises(CursorDamaged):
        store.load("main", LOG)


def test_the_cursor_of_another_log_is_not_taken(tmp_path: Path) -> None:
    store = CursorStore(tmp_path)
    store.save("main", OLD)
    shutil.copy(store.path("main", LOG), store.path("main", "other@hive1"))
    with pytest.raises(CursorDamaged):
        store.load("main", "other@hive1")


def test_a_crash_at_any_step_of_save_leaves_the_old_or_the_new_cursor(
    tmp_path: Path, crash_at: Callable[[int, Callable[[], object]], bool]
) -> None:
    seen = set()
    for step in range(20):
        store = CursorStore(tmp_path / str(step))
        store.save("main", replace(OLD, seq=1))
        store.save("main", OLD)
        finished = not crash_at(step, lambda store=store: store.save("main", NEW))
        loaded = store.load("main", LOG)
        assert loaded in (OLD, NEW)
        seen.add(loaded)
        store.save("main", NEW)
        assert store.load("main", LOG) == NEW, "what the crash left is in nobody's way"
        if finished:
            break
    assert finished
    assert seen == {OLD, NEW}


def test_save_syncs_the_file_before_its_name_and_the_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CursorStore(tmp_path)
    store.save("main", OLD)
    steps = note_steps(monkeypatch, "fsync", "rename", module=os)
    store.save("main", NEW)
    assert steps == ["fsync", "rename", "rename", "fsync"]


def test_logs_and_sinks_are_listed(tmp_path: Path) -> None:
    store = CursorStore(tmp_path)
    assert store.sinks() == []
    assert store.logs("main") == []
    store.save("main", OLD)
    store.save("main", NEW)
    store.save("main", replace(OLD, log="a@b"))
    store.save("archive", OLD)
    store.path("main", "gone@x").with_name("gone@x.cursor.prev").write_bytes(b"")
    assert store.sinks() == ["archive", "main"]
    assert store.logs("main") == ["a@b", "gone@x", LOG]


@pytest.mark.parametrize("sink", ["", "..", "a/b", ".hidden", "ü", "x" * 101, "a\0b"])
def test_a_sink_name_that_is_no_file_name_is_refused(tmp_path: Path, sink: str) -> None:
    with pytest.raises(InvalidName):
        CursorStore(tmp_path).load(sink, LOG)


@pytest.mark.parametrize("log", ["", "../../etc/passwd", "a/b", ".a", "a\0b", "x" * 221])
def test_a_log_name_that_is_no_file_name_is_refused(tmp_path: Path, log: str) -> None:
    with pytest.raises(InvalidName):
        CursorStore(tmp_path).load("main", log)


@pytest.mark.parametrize(
    "fields",
    [{"offset": -1}, {"seq": -1}, {"at": dt.datetime(2026, 11, 23)}],  # noqa: DTZ001  (refused)
)
def test_a_cursor_that_makes_no_sense_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"negative|aware"):
        replace(OLD, **fields)


SOURCE = SourceCursor("ndjson", "app", {"files": [["ab", 7]]}, OLD.at)


def test_apart(tmp_path: Path) -> None:
    """apart: the cursor of a source is never read as that of a log, nor the other way round"""
    store = CursorStore(tmp_path)
    store.save_source("main", replace(SOURCE, source=LOG))
    assert store.load("main", LOG) is None
    assert store.logs("main") == store.sinks() == []
    of_source = tmp_path / "source-cursors" / "main" / f"{LOG}.cursor"
    store.path("main", LOG).parent.mkdir(parents=True)
    shutil.copy(of_source, store.path("main", LOG))
    with pytest.raises(CursorDamaged):
        store.load("main", LOG)
    store.save("main", OLD)
    shutil.copy(store.path("main", LOG), of_source)
    with pytest.raises(CursorDamaged):
        store.load_source("main", "ndjson", LOG)


def test_a_source_cursor_comes_back_whole_and_torn_costs_one_step(tmp_path: Path) -> None:
    store = CursorStore(tmp_path)
    assert store.load_source("main", "ndjson", "app") is None
    newer = replace(SOURCE, place={"files": []})
    store.save_source("main", SOURCE)
    assert store.load_source("main", "ndjson", "app") == SOURCE
    store.save_source("main", newer)
    path = tmp_path / "source-cursors" / "main" / "app.cursor"
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert store.load_source("main", "ndjson", "app") == SOURCE
    path.write_bytes(whole)
    assert store.load_source("main", "ndjson", "app") == newer
    with pytest.raises(CursorDamaged, match="source"):
        store.load_source("main", "journald", "app")
    for name in ("a/b", "..", ""):
        with pytest.raises(InvalidName):
            store.load_source("main", "ndjson", name)
