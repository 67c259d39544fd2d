"""Whole runs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from auditlog.cursors import Cursor, CursorStore
from auditlog.format.tombstones import SEGMENT_DELETED
from auditlog.reading.inventory import scan
from auditlog.reading.selection import read
from auditlog.reading.tombstone_scan import tombstones_in
from auditlog.verification.verify import verify
from retention.errors import Busy, RetentionError, StateDamaged
from retention.holds import Hold, HoldStore
from retention.lock import locked
from retention.memory import RunStore
from retention.plan import Refused
from retention.policy import RetentionPolicy
from retention.service import RunResult, run_retention
from tests.support.logs import START, LogBuilder, write_log

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
POLICY = RetentionPolicy(3 * DAY, 6 * DAY)
NOW = START + 9 * DAY + HOUR


def run(
    directory: Path,
    *sinks: str,
    state_dir: Path | None = None,
    now: dt.datetime = NOW,
    dry_run: bool = False,
    confirm: bool = False,
    simulated: bool = False,
    policy: RetentionPolicy = POLICY,
) -> RunResult:
    return run_retention(
        directory,
        policy,
        state_dir,
        sinks,
        now,
        dry_run=dry_run,
        confirm=confirm,
        simulated=simulated,
        host="hive1",
    )


def snapshot(directory: Path) -> dict[str, tuple[object, ...]]:
    """Every file and directory below, with content and time stamps."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (directory, *directory.rglob("*")):
        state = path.lstat()
        content = b"" if path.is_dir() else path.read_bytes()
        found[str(path)] = (content, state.st_mtime_ns, state.st_ctime_ns)
    return found


def save_cursor(built: LogBuilder, state_dir: Path, segments: int) -> None:
    """The sink ``main`` acknowledged so many whole segments."""
    path, header = built.paths[segments - 1], built.headers[segments * 10 - 1]
    cursor = Cursor(built.log, path.name, path.stat().st_size, header.seq, header.hash, NOW)
    CursorStore(state_dir).save("main", cursor)


def test_dry(daily: LogBuilder, tmp_path: Path) -> None:
    daily.compress(3, keep_plain=True)
    (daily.directory / f".{daily.paths[4].name}.zst.tmp").write_bytes(b"half")
    before = snapshot(tmp_path)
    result = run(daily.directory, dry_run=True)
    assert snapshot(tmp_path) == before
    assert result.totals == {
        "keep": 3,
        "compress": 3,
        "delete": 4,
        "freed_bytes": sum(daily.paths[index].stat().st_size for index in range(4)),
    }
    assert result.to_json() == result.plan.to_json(dry_run=result.dry_run)


def test_a_dry_run_and_the_real_one_print_the_same_plan(daily: LogBuilder) -> None:
    dry = run(daily.directory, dry_run=True).to_json()
    real = run(daily.directory).to_json()
    for printed in (dry, real):
        printed.pop("dry_run")
        printed["totals"].pop("freed_bytes")
        for action in printed["actions"]:
            action.pop("done")
    assert dry == real


def test_refused(daily: LogBuilder, tmp_path: Path) -> None:
    later = START + 30 * DAY
    run(daily.directory, policy=RetentionPolicy())  # makes the lock file, and is remembered
    before = snapshot(tmp_path)
    with pytest.raises(Refused, match="9 of the 10 segments") as caught:
        run(daily.directory, now=later)
    kinds = [refusal.kind for refusal in caught.value.plan.refusals]
    assert kinds == ["too_many_deletes", "clock_forwards", "harsher_policy"]
    after = snapshot(tmp_path)
    assert {path: seen[0] for path, seen in after.items()} == {
        path: seen[0] for path, seen in before.items()
    }
    assert run(daily.directory, now=later, dry_run=True).plan.refusals == caught.value.plan.refusals
    assert run(daily.directory, now=later, confirm=True).totals["delete"] == 9
    assert verify(daily.directory).ok


def test_what_a_person_confirmed_is_not_asked_again_when_a_step_failed(
    daily: LogBuilder, tmp_path: Path
) -> None:
    """Nothing can be counted here, so that every deletion fails."""
    state = tmp_path / "state"
    save_cursor(daily, state, 10)
    longer = RetentionPolicy(3 * DAY, verify_before_delete="index")
    harsher = RetentionPolicy(3 * DAY, 7 * DAY, verify_before_delete="index")
    assert run(daily.directory, "main", state_dir=state, policy=longer).ok
    later = NOW + HOUR
    with pytest.raises(Refused):
        run(daily.directory, "main", state_dir=state, now=later, policy=harsher)
    confirmed = run(
        daily.directory, "main", state_dir=state, now=later, policy=harsher, confirm=True
    )
    assert not confirmed.ok
    assert "cannot be asked" in confirmed.failures[0].error
    again = run(daily.directory, "main", state_dir=state, now=later + HOUR, policy=harsher)
    assert not again.plan.refusals
    last = RunStore(state).load(daily.directory)
    assert last is not None
    assert (last.at, last.policy) == (NOW, harsher), "the last success stays"


def test_one_at_once(daily: LogBuilder, tmp_path: Path) -> None:
    state = tmp_path / "state"
    for place in (state, daily.directory / ".auditlog"):
        with locked(place / "retention.lock"), pytest.raises(Busy, match="pid"):
            run(daily.directory, state_dir=state)
    assert len(scan(daily.directory).logs) == 1
    run(daily.directory, state_dir=state)


def test_verifies(log_directory: Path) -> None:
    """Forty days, one run a day, while the log grows."""
    built = LogBuilder(log_directory)
    log_directory.mkdir(mode=0o700)
    for day in range(40):
        built.at = START + day * DAY
        built.append(5)
        run(log_directory, now=built.at + HOUR, simulated=True)
        assert verify(log_directory).ok
    logs = scan(log_directory).logs
    kept = logs[built.names[0].log]
    assert [file.name.logical for file in kept] == [path.name for path in built.paths[-6:]]
    assert [file.name.compression for file in kept] == [".zst"] * 3 + [""] * 3
    buried = [found.segment for found in tombstones_in(logs)]
    assert sorted(buried) == [path.name for path in built.paths[:-6]]


def test_what_is_not_shipped_is_kept_until_it_is(daily: LogBuilder, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert run(daily.directory, "main", state_dir=state).totals["delete"] == 0
    save_cursor(daily, state, 2)
    result = run(daily.directory, "main", state_dir=state)
    assert [step.done for step in result.steps[:3]] == [True, True, False]
    assert result.plan.kept()["not_shipped"] == 5
    record = next(
        record
        for file in scan(daily.directory).logs.values()
        for record in read(file[-1].path, log_events=True)
        if record.event_type == SEGMENT_DELETED
    )
    assert record.fields["details"]["cursor"] == {"main": 20}


def test_a_hold_keeps_and_is_kept_in_the_state_directory(daily: LogBuilder, tmp_path: Path) -> None:
    HoldStore(tmp_path / "state").add(Hold("x", "legal", "audit", "queen-*"))
    result = run(daily.directory, state_dir=tmp_path / "state")
    assert result.plan.kept() == {"held": 7, "too_recent": 2, "active": 1}


def test_unreadable_state_stops_before_anything_is_touched(
    daily: LogBuilder, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    for name in ("holds.json", "retention.json"):
        (state / name).write_text("{")
        with pytest.raises(StateDamaged, match="cannot be read"):
            run(daily.directory, state_dir=state)
        (state / name).unlink()
    assert len(list(daily.directory.glob("*.ndjson"))) == 10


def test_a_run_by_the_clock_is_remembered_and_a_simulated_one_is_not(
    daily: LogBuilder, tmp_path: Path
) -> None:
    store = RunStore(tmp_path)
    run(daily.directory, state_dir=tmp_path, simulated=True)
    assert store.load(daily.directory) is None
    run(daily.directory, "main", state_dir=tmp_path)
    found = store.load(daily.directory)
    assert found is not None
    assert (found.at, found.policy, found.sinks) == (NOW, POLICY, ("main",))
    assert found.elapsed is not None


def test_several_logs_of_one_directory_are_handled_together(daily: LogBuilder) -> None:
    other = write_log(daily.directory, "rbee-hive@gpu-1.example.org+2", segments=4, days=2)
    result = run(daily.directory, simulated=True)
    done = [step.action.subject.log for step in result.steps if step.done]
    assert done.count(daily.log) == 7
    assert done.count(other.log) == 3
    assert verify(daily.directory).ok


def test_a_directory_that_is_none_and_a_time_without_zone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RetentionError, match="no such directory"):
        run(tmp_path / "none")
    with pytest.raises(RetentionError, match="time zone"):
        run(tmp_path, now=dt.datetime(2026, 1, 1))  # noqa: DTZ001  (without a zone on purpose)
    assert run(tmp_path).totals == {"keep": 0, "compress": 0, "delete": 0, "freed_bytes": 0}
