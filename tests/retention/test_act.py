"""Carrying out a plan."""

from __future__ import annotations

import datetime as dt
import errno
import os
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import auditlog
from auditlog import durable_fs
from auditlog.cursors import Cursor, CursorStore
from auditlog.errors import LogFailed
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import STATE_DIRECTORY, scan
from auditlog.reading.tombstone_scan import tombstones_in
from auditlog.verification.verify import verify
from auditlog.writer.lock import lock_path
from retention.act import FileHandler, act
from retention.errors import RetentionError
from retention.holds import Hold, HoldStore
from retention.policy import RetentionPolicy
from retention.service import RunResult, run_retention
from retention.subjects import SinkCursors
from retention.tombstone_log import RetentionRun, TombstoneLog
from retention.writers import kept_out
from tests.support.durable_steps import note_steps
from tests.support.erasures import erase
from tests.support.logs import START, LogBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


DAY = dt.timedelta(days=1)
POLICY = RetentionPolicy(3 * DAY, 6 * DAY, max_delete_fraction=1.0)
NOW = START + 9 * DAY + dt.timedelta(hours=1)
"""Four of the ten segments are due for deletion, three for compression."""


def run(built: LogBuilder, stop: threading.Event | None = None) -> RunResult:
    return run_retention(
        built.directory, POLICY, None, (), NOW, host="hive1", simulated=True, stop=stop
    )


def present(built: LogBuilder) -> set[str]:
    return {
        file.name.logical
        for log, files in scan(built.directory).logs.items()
        if str(log) == built.log
        for file in files
    }


def tombstoned(directory: Path) -> list[str]:
    return [found.segment for found in tombstones_in(scan(directory).logs)]


def names(built: LogBuilder, *indices: int) -> list[str]:
    return [built.paths[index].name for index in indices]


def test_a_plan_is_carried_out_deletions_first(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    unlink = durable_fs.unlink

    def note(path: Path) -> None:
        steps.append(path.name)
        unlink(path)

    monkeypatch.setattr(durable_fs, "unlink", note)
    result = run(daily)
    assert [f"{step.action.action} {step.done}" for step in result.steps] == (
        ["delete True"] * 4 + ["compress True"] * 3 + ["keep False"] * 3
    )
    assert steps == names(daily, 0, 1, 2, 3, 4, 5, 6)
    assert present(daily) == set(names(daily, 4, 5, 6, 7, 8, 9))
    assert verify(daily.directory).ok


def test_proven(
    daily: LogBuilder, killed_at: Callable[[Callable[[], object], int], bool], tmp_path: Path
) -> None:
    """Killed before each durable step in turn; each next run finishes."""
    import shutil

    pristine = tmp_path / "pristine"
    shutil.copytree(daily.directory, pristine)
    nth = 0
    while killed_at(lambda: run(daily), nth):
        gone = set(names(daily, *range(10))) - present(daily)
        assert gone <= set(tombstoned(daily.directory))
        assert verify(daily.directory).ok
        assert run(daily).ok
        assert present(daily) == set(names(daily, 4, 5, 6, 7, 8, 9))
        assert len(list(daily.directory.glob("*.zst"))) == 3
        assert sorted(tombstoned(daily.directory)) == names(daily, 0, 1, 2, 3)  # each once
        assert not list(daily.directory.glob(".*.tmp"))
        assert verify(daily.directory).ok
        shutil.rmtree(daily.directory)
        shutil.copytree(pristine, daily.directory)
        nth += 1
    assert nth > 30


@pytest.mark.parametrize("form", ["", ".zst"])
def test_damaged(daily: LogBuilder, form: str) -> None:
    """The damage lies in the middle, where the plan does not look."""
    path = daily.paths[1]
    content = path.read_bytes()
    path.write_bytes(content.replace(b"task-15", b"task-99"))
    if form:
        path = daily.compress(1)
    before = path.read_bytes()
    result = run(daily)
    step = result.steps[1]
    assert (step.action.action, step.action.reason, step.done) == ("keep", "damaged", False)
    assert "hash mismatch" in step.action.detail
    assert path.read_bytes() == before
    assert tombstoned(daily.directory) == names(daily, 0, 2, 3)
    assert result.ok
    assert result.totals["keep"] == 4
    assert result.to_json()["actions"][1]["reason"] == "damaged"


def test_once(daily: LogBuilder, killed_at: Callable[[Callable[[], object], int], bool]) -> None:
    """Killed at the first unlink: the tombstone is there, and so is the segment."""
    nth = 0
    while not tombstoned(daily.directory):
        assert killed_at(lambda: run(daily), nth)
        nth += 1
    assert tombstoned(daily.directory) == names(daily, 0)
    assert daily.paths[0].exists()
    run(daily)
    assert tombstoned(daily.directory) == names(daily, 0, 1, 2, 3)
    assert verify(daily.directory).ok


def hold_after_first_tombstone(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch, hold: Hold
) -> None:
    """Have somebody add the hold once the first segment's tombstone is durable."""
    write = TombstoneLog.write_tombstone

    def write_and_hold(
        tombstones: TombstoneLog, event_type: str, tombstone: Mapping[str, object], *, actor: str
    ) -> None:
        write(tombstones, event_type, tombstone, actor=actor)
        if tombstone["segment"] == daily.paths[0].name:
            HoldStore(daily.directory / STATE_DIRECTORY).add(hold)

    monkeypatch.setattr(TombstoneLog, "write_tombstone", write_and_hold)


def test_late_hold(daily: LogBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    hold_after_first_tombstone(daily, monkeypatch, Hold("x", "legal", "audit"))
    result = run(daily)
    assert [step.action.reason for step in result.steps[:4]] == ["age", "held", "held", "held"]
    assert tombstoned(daily.directory) == names(daily, 0)


def test_late_hold_by_record(daily: LogBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the request of one record in the second segment."""
    hold = Hold("x", "legal", "audit", actor="alice", from_at=START + 2 * DAY)
    hold_after_first_tombstone(daily, monkeypatch, hold)
    result = run(daily)
    assert [step.action.reason for step in result.steps[:4]] == ["age", "age", "held", "held"]


class Counted:
    """An index that lacks the last record of one segment, or cannot be asked about another."""

    def __init__(self, lacking: int, unreachable: int) -> None:
        self._lacking, self._unreachable = lacking, unreachable

    def count(self, sink: str, log: LogId, first_seq: int, last_seq: int, *, day: dt.date) -> int:
        assert (sink, str(log)) == ("main", "queen-rbee@hive1")
        assert day == START.date() + (first_seq - 1) // 10 * DAY
        if first_seq == self._unreachable * 10 + 1:
            raise RetentionError("the index does not answer")
        return last_seq - first_seq + (first_seq != self._lacking * 10 + 1)


def test_counted(daily: LogBuilder) -> None:
    policy = replace(POLICY, verify_before_delete="index")
    header = daily.headers[-1]
    state = daily.directory / STATE_DIRECTORY
    CursorStore(state).save(
        "main",
        Cursor(
            daily.log,
            daily.paths[-1].name,
            daily.paths[-1].stat().st_size,
            header.seq,
            header.hash,
            NOW,
        ),
    )

    def prune(index: Counted | None) -> RunResult:
        return run_retention(
            daily.directory,
            policy,
            None,
            ("main",),
            NOW,
            host="hive1",
            simulated=True,
            counter=index,
        )

    without = prune(None)
    assert [step.done for step in without.steps] == [False] * 4 + [True] * 3 + [False] * 3
    assert "cannot be asked" in without.failures[0].error
    result = prune(Counted(1, 2))
    assert [step.done for step in result.steps[:4]] == [True, False, False, True]
    assert result.steps[1].action.reason == "not_in_index"
    assert result.steps[1].action.detail == "sink main has 9 of its 10 records"
    assert "does not answer" in result.steps[2].error
    assert present(daily) >= set(names(daily, 1, 2))
    assert prune(Counted(99, 99)).ok
    assert present(daily) == set(names(daily, 4, 5, 6, 7, 8, 9))


class Held:
    """An index that has exactly these records."""

    def __init__(self, seqs: set[int]) -> None:
        self._seqs = seqs

    def count(self, sink: str, log: LogId, first_seq: int, last_seq: int, *, day: dt.date) -> int:
        del sink, log, day
        return len(self._seqs & set(range(first_seq, last_seq + 1)))

    def can_count(self, sink: str) -> bool:
        del sink
        return True


@pytest.mark.parametrize(
    ("lacking", "done"), [({1, 4, 10}, True), ({1, 4, 7, 10}, False), ({7}, False)]
)
def test_erased_records_are_not_missed_in_the_index_and_hide_no_missing_one(
    daily: LogBuilder, lacking: set[int], done: bool
) -> None:
    erase(daily, 1, 4, 10)
    header = daily.headers[-1]
    place, size = daily.paths[-1].name, daily.paths[-1].stat().st_size
    store = CursorStore(daily.directory / STATE_DIRECTORY)
    store.save("main", Cursor(daily.log, place, size, header.seq, header.hash, NOW))
    result = run_retention(
        daily.directory, replace(POLICY, verify_before_delete="index"), None, ("main",), NOW,
        host="hive1", simulated=True, counter=Held(set(range(1, 101)) - lacking),
    )  # fmt: skip
    first = next(step for step in result.steps if step.action.name == daily.paths[0].name)
    assert (first.action.action, first.done) == ("delete" if done else "keep", done)
    if not done:
        assert first.action.detail == "sink main has 6 of its 7 records"
    assert verify(daily.directory).ok


def test_goes_on(daily: LogBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink, refused = durable_fs.unlink, {*names(daily, 1, 5)}

    def deny(path: Path) -> None:
        if path.name in refused:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        unlink(path)

    monkeypatch.setattr(durable_fs, "unlink", deny)
    result = run(daily)
    assert [step.done for step in result.steps] == [True, False, True, True, True, False, True] + [
        False
    ] * 3
    assert [step.action.name for step in result.failures] == names(daily, 1, 5)
    assert "Permission denied" in result.failures[0].error
    counted = {name: result.totals[name] for name in ("keep", "compress", "delete")}
    assert counted == {"keep": 5, "compress": 2, "delete": 3}, "what failed was not done"
    assert not result.ok
    monkeypatch.undo()
    assert run(daily).ok
    assert sorted(tombstoned(daily.directory)) == names(daily, 0, 1, 2, 3)
    assert verify(daily.directory).ok


def test_without_a_tombstone_nothing_is_deleted(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def fail(_proofs: TombstoneLog, _event_type: str, tombstone: object, *, actor: str) -> None:
        tried.append(tombstone)
        raise LogFailed("the log takes no more events")

    monkeypatch.setattr(TombstoneLog, "write_tombstone", fail)
    result = run(daily)
    assert len(present(daily)) == 10
    assert [bool(step.error) for step in result.steps[:4]] == [True] * 4
    assert len(tried) == 1  # a failed log is not tried again for each segment
    assert [step.done for step in result.steps[4:7]] == [True] * 3


def test_a_compressed_segment_and_both_forms_are_deleted_whole(daily: LogBuilder) -> None:
    daily.compress(0)
    daily.compress(1, keep_plain=True)
    daily.compress(2, ".gz", keep_plain=True)
    run(daily)
    for path in daily.paths[:4]:
        assert not list(daily.directory.glob(f"{path.name}*"))
    assert tombstoned(daily.directory) == names(daily, 0, 1, 2, 3)
    assert verify(daily.directory).ok


def test_two_forms_that_differ_are_not_deleted(daily: LogBuilder) -> None:
    packed = daily.compress(0, keep_plain=True)
    daily.paths[0].write_bytes(b"".join(daily.lines[:9]))
    result = run(daily)
    assert packed.exists()
    assert daily.paths[0].exists()
    assert result.steps[0].action.action == "keep" or result.steps[0].error
    assert names(daily, 0)[0] not in tombstoned(daily.directory)


def test_a_segment_that_is_not_what_the_plan_saw_stays(daily: LogBuilder) -> None:
    decided = run_retention(
        daily.directory, POLICY, None, (), NOW, dry_run=True, simulated=True
    ).plan
    daily.paths[0].write_bytes(b"".join(daily.lines[:9]))  # a whole chain, of fewer records
    daily.paths[4].write_bytes(b"".join(daily.lines[40:49]))
    with TombstoneLog(daily.directory, "hive1") as tombstones:
        holds = HoldStore(daily.directory / STATE_DIRECTORY)
        handler = FileHandler(POLICY, SinkCursors(), RetentionRun(NOW))
        steps = act(decided, handler, tombstones, holds, by="x", stop=threading.Event())
    assert "not the ones the plan saw" in steps[0].error
    assert steps[4].action.reason == "damaged"
    assert daily.paths[0].exists()
    assert daily.paths[4].exists()
    assert [step.done for step in steps[:7]] == [False, True, True, True, False, True, True]


def test_a_segment_that_changes_before_it_goes_stays(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = TombstoneLog.write_tombstone

    def tombstone_and_append(
        tombstones: TombstoneLog, event_type: str, tombstone: Mapping[str, object], *, actor: str
    ) -> None:
        write(tombstones, event_type, tombstone, actor=actor)
        if tombstone["segment"] == daily.paths[0].name:
            with daily.paths[0].open("ab") as file:
                file.write(b"late")

    monkeypatch.setattr(TombstoneLog, "write_tombstone", tombstone_and_append)
    result = run(daily)
    assert "changed while it was read" in result.steps[0].error
    assert daily.paths[0].read_bytes().endswith(b"late")
    assert [step.done for step in result.steps[1:7]] == [True] * 6


def test_every_step_is_durable_before_the_next(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = TombstoneLog.write_tombstone

    def tombstone_and_note(
        tombstones: TombstoneLog, event_type: str, tombstone: Mapping[str, object], *, actor: str
    ) -> None:
        write(tombstones, event_type, tombstone, actor=actor)
        steps.append("tombstone")

    run_retention(daily.directory, POLICY, None, (), START, simulated=True)  # makes the lock file
    steps = note_steps(
        monkeypatch, "create_exclusive", "fsync", "rename", "unlink", "fsync_directory"
    )
    monkeypatch.setattr(TombstoneLog, "write_tombstone", tombstone_and_note)
    run(daily)
    first = steps.index("tombstone")
    assert steps[first : first + 3] == ["tombstone", "unlink", "fsync_directory"]
    assert (
        steps[-18:-12]
        == steps[-12:-6]
        == [
            "create_exclusive",
            "fsync",
            "rename",
            "fsync_directory",
            "unlink",
            "fsync_directory",
        ]
    )


def run_with_archive(built: LogBuilder, days: int = 20) -> list[str]:
    """Run retention when all segments are old; return its action for each segment."""
    result = run_retention(
        built.directory,
        replace(POLICY, delete_after=99 * DAY),
        None,
        (),
        START + days * DAY,
        host="hive1",
        simulated=True,
        archived={},
    )
    assert [step.error for step in result.steps if step.error] == []
    return [f"{step.action.action} {step.action.reason} {step.done}" for step in result.steps]


def test_a_log_at_rest_is_finished_and_its_writer_goes_on_in_another_segment(
    log_directory: Path,
) -> None:
    """The archive takes what is compressed, so that nothing may ever be appended to it."""
    at = int(START.timestamp()) * 10**9
    log_directory.mkdir()
    for done in (["keep active False"], ["compress age True"], ["keep newest False"]):
        if done[0].startswith("keep active"):
            log = auditlog.open(log_directory, service="s", host="h", clock=lambda: at)
            log.emit("a.b")
        else:
            log.close()
        built = LogBuilder(log_directory, "s@h")
        assert run_with_archive(built) == done
    (packed,) = log_directory.glob("s@h.*.zst")
    before = packed.read_bytes()
    with auditlog.open(log_directory, service="s", host="h", clock=lambda: at) as log:
        log.emit("a.b")
    assert [str(file.name) for file in scan(log_directory).logs[log.id]] == [
        packed.name,
        packed.name.replace(".0001.ndjson.zst", ".0002.ndjson"),
    ]
    assert packed.read_bytes() == before
    assert verify(log_directory).ok


def test_a_writer_that_comes_after_the_plan_keeps_its_segment(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = lock_path(daily.directory, LogId.parse(daily.log))
    durable_fs.make_directory(place.parent)
    lock = durable_fs.FileLock(place, "pid 1")
    assert run_with_archive(daily)[-1] == "keep active False"
    monkeypatch.setattr("retention.gather.writer_of", lambda *_: "")
    assert run_with_archive(daily)[-1] == "keep active False"
    assert daily.active.exists()
    lock.release()
    assert run_with_archive(daily)[-1] == "compress age True"


def test_a_record_that_comes_after_the_plan_keeps_its_segment(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def late(directory: Path, log: LogId) -> Iterator[None]:
        daily.append(1)
        with kept_out(directory, log):
            yield

    monkeypatch.setattr("retention.act.kept_out", late)
    result = run_retention(
        daily.directory,
        replace(POLICY, delete_after=99 * DAY),
        None,
        (),
        START + 20 * DAY,
        host="hive1",
        simulated=True,
        archived={},
    )
    assert "written to since the plan" in result.steps[-1].error
    assert daily.active.read_bytes().endswith(daily.lines[-1])


def test_a_stop_leaves_the_rest_undone(daily: LogBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, unlink = threading.Event(), durable_fs.unlink

    def unlink_and_stop(path: Path) -> None:
        unlink(path)
        stop.set()

    monkeypatch.setattr(durable_fs, "unlink", unlink_and_stop)
    result = run(daily, stop)
    assert result.stopped
    assert not result.ok
    assert [step.done for step in result.steps] == [True] + [False] * 9
    assert verify(daily.directory).ok
