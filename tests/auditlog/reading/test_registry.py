from __future__ import annotations

from typing import TYPE_CHECKING

from auditlog.cursors import Cursor, CursorStore
from auditlog.format.segment_names import SegmentName
from auditlog.reading.head_note import remember_head
from auditlog.reading.registry import (
    KnownRecord,
    forgotten_logs,
    known_records,
    known_records_by_directory,
)
from tests.support.logs import START, LogBuilder, write_log

if TYPE_CHECKING:
    from pathlib import Path


def note(log: LogBuilder) -> None:
    (log.directory / ".auditlog").mkdir(exist_ok=True)
    remember_head(log.directory, SegmentName.parse(log.active.name))


def acknowledge(log: LogBuilder, state_dir: Path, sink: str = "main") -> Cursor:
    """The cursor of a sink that has every record of the log."""
    size = log.active.stat().st_size
    cursor = Cursor(log.log, log.active.name, size, log.seq, log.hash, START)
    CursorStore(state_dir).save(sink, cursor)
    return cursor


def test_union(tmp_path: Path) -> None:
    noted = write_log(tmp_path, records=3, log="noted@hive1")
    note(noted)
    acknowledge(write_log(tmp_path, records=4, log="shipped@hive1"), tmp_path / ".auditlog")
    found = known_records(tmp_path)
    assert {(one.log, one.seq) for one in found} == {("noted@hive1", 0), ("shipped@hive1", 4)}
    assert "noted@hive1.head" in found[0].source


def test_place(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=5, segments=2)
    made = acknowledge(log, tmp_path / ".auditlog")
    assert known_records(tmp_path) == (
        KnownRecord(log.log, "the cursor of sink main", 10, made.hash, made.segment, made.offset),
    )


def test_reads_only_and_goes_on_behind_what_is_damaged(tmp_path: Path) -> None:
    assert known_records(tmp_path) == ()
    assert not list(tmp_path.iterdir())
    state = tmp_path / "state"
    for name in ("a@hive1", "b@hive1"):
        acknowledge(write_log(tmp_path, records=2, log=name), state)
    (state / "cursors/main/a@hive1.cursor").write_text("torn")
    (state / "cursors/main/.no log.cursor").write_text("of nobody")
    before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    found = known_records_by_directory([tmp_path], state)[tmp_path]
    assert {one.log: one.seq for one in found} == {"a@hive1": 0, "b@hive1": 2}
    assert "damaged" in found[0].source
    assert before == {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}


def test_a_cursor_counts_where_its_log_lies_and_else_in_the_first_directory(tmp_path: Path) -> None:
    first, second, state = tmp_path / "first", tmp_path / "second", tmp_path / "state"
    for directory in (first, second):
        directory.mkdir()
    acknowledge(write_log(first, records=1, log="one@hive1"), state)
    acknowledge(write_log(second, records=1, log="two@hive1"), state)
    gone = write_log(second, records=1, log="gone@hive1")
    acknowledge(gone, state)
    gone.active.unlink()
    found = known_records_by_directory([first, second, tmp_path / "nowhere"], state)
    assert {place.name: sorted(one.log for one in known) for place, known in found.items()} == {
        "first": ["gone@hive1", "one@hive1"],
        "second": ["two@hive1"],
    }
    assert known_records_by_directory([tmp_path / "nowhere"], state) == {}


def test_one_cursor_that_is_found_by_two_ways_is_one_known_record(tmp_path: Path) -> None:
    acknowledge(write_log(tmp_path, records=1), tmp_path / ".auditlog")
    [known] = known_records_by_directory([tmp_path], tmp_path / ".auditlog").values()
    assert len(known) == 1


def test_forgotten(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=3)
    acknowledge(log, tmp_path / ".auditlog")
    log.active.unlink()
    retention = LogBuilder(tmp_path, "retention@hive1")
    for details in ({"log": log.log}, {"log": log.log, "through_seq": 2}):
        retention.append(event_type="retention.log_forgotten", details=details)
        assert [one.seq for one in known_records(tmp_path)] == [3], (
            "incomplete, or of fewer records"
        )
    retention.append(
        event_type="retention.log_forgotten", details={"log": log.log, "through_seq": 3}
    )
    assert forgotten_logs([tmp_path]) == {log.log: 3}
    assert known_records(tmp_path) == ()
    assert known_records_by_directory([tmp_path], tmp_path / ".auditlog") == {tmp_path: ()}
