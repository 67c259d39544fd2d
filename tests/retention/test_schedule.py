"""The timetable."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog import durable_fs
from retention.errors import PolicyError
from retention.lock import locked
from retention.memory import RunStore
from retention.policy import RetentionPolicy
from retention.schedule import RetentionSchedule, Status, Timetable
from tests.support.logs import START, LogBuilder, write_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Indices = Callable[[dt.datetime, threading.Event], list[str]]

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
POLICY = RetentionPolicy(3 * DAY, 6 * DAY)
NOW = START + 9 * DAY + HOUR
PATIENCE = 60.0
"""Seconds after which a thread that should have come is taken for lost."""

offsets = st.timedeltas(-10 * DAY, 10 * DAY)


@pytest.fixture
def begin(log_directory: Path, tmp_path: Path) -> Iterator[Callable[..., RetentionSchedule]]:
    """Starts schedules over the log directory, at NOW, and stops them at the end."""
    started: list[RetentionSchedule] = []

    def start(
        *sinks: str,
        indices: Indices | None = None,
        clock: Callable[[], dt.datetime] = lambda: NOW,
        witnessed: Callable[[], None] = lambda: None,
    ) -> RetentionSchedule:
        schedule = RetentionSchedule(
            [log_directory],
            POLICY,
            tmp_path / "state",
            sinks,
            Timetable(DAY + HOUR, watch_every=dt.timedelta(seconds=1)),  # at no hour of the day
            host="hive1",
            indices=indices,
            clock=clock,
            witnessed=witnessed,
        )
        started.append(schedule)
        schedule.start()
        return schedule

    yield start
    for schedule in started:
        schedule.stop()


def wait_for(schedule: RetentionSchedule, met: Callable[[Status], bool]) -> Status:
    """The first status that meets the condition; polled, since a status announces nothing."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        status = schedule.status()
        if met(status):
            return status
        pause.wait(0.01)
    raise AssertionError(f"it did not come about: {status}")


# Pure ---------------------------------------------------------------------------------------


@given(since=offsets, jitter=st.timedeltas(dt.timedelta(0), HOUR))
def test_overdue(since: dt.timedelta, jitter: dt.timedelta) -> None:
    table = Timetable(jitter=jitter)
    assert table.overdue(NOW, None, None)
    in_time = dt.timedelta(0) <= since <= DAY + jitter
    assert table.overdue(NOW, NOW - since, None) == (not in_time)


@given(since=offsets, tried=offsets)
def test_patient(since: dt.timedelta, tried: dt.timedelta) -> None:
    table = Timetable()
    overdue = table.overdue(NOW, NOW - since, NOW - tried)
    if dt.timedelta(0) <= tried < HOUR:
        assert not overdue
    else:
        assert overdue == table.overdue(NOW, NOW - since, None)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (Timetable(), [3 * HOUR + HOUR * 17 / 60, 27 * HOUR + HOUR * 17 / 60]),
        (Timetable(daily_at=dt.time(22, 0, 30)), [22 * HOUR + dt.timedelta(seconds=30)]),
        (Timetable(interval=6 * HOUR), [6 * HOUR, 12 * HOUR]),
    ],
)
def test_it_runs_daily_in_utc_or_at_an_interval(
    table: Timetable, expected: list[dt.timedelta]
) -> None:
    midnight = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    trigger = Timetable(table.interval, table.daily_at, jitter=dt.timedelta(0)).trigger()
    trigger.start_date = midnight + (table.interval if table.interval != DAY else 0 * DAY)
    previous, fires = None, []
    for _ in expected:
        previous = trigger.get_next_fire_time(previous, previous or midnight)
        fires.append(previous - midnight)
    assert fires == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval": dt.timedelta(0)},
        {"retry_after": dt.timedelta(0)},
        {"watch_every": dt.timedelta(milliseconds=1)},
        {"jitter": -HOUR},
    ],
)
def test_a_timetable_without_time_is_refused(wrong: dict[str, dt.timedelta]) -> None:
    with pytest.raises(PolicyError):
        Timetable(**wrong)  # type: ignore[arg-type]  # wrong on purpose


# Running ------------------------------------------------------------------------------------


def test_a_first_run_starts_at_once_and_is_not_repeated(
    daily: LogBuilder, begin: Callable[..., RetentionSchedule]
) -> None:
    schedule = begin()
    status = wait_for(schedule, lambda status: status.last_success_at is not None)
    assert (status.runs, status.failures, status.running) == (1, 0, False)
    assert not daily.paths[0].exists()
    schedule.stop()
    again = begin()
    wait_for(again, lambda status: status.next_run_at is not None)
    again.stop()
    assert again.status().runs == 0
    assert again.status().last_success_at == NOW


@pytest.mark.usefixtures("daily")
def test_reported(begin: Callable[..., RetentionSchedule]) -> None:
    status = wait_for(begin(), lambda status: status.last_success_at is not None)
    assert status.kept == {"too_recent": 2, "active": 1}
    assert (status.compressed, status.deleted) == (3, 4)
    assert status.freed_bytes > 0
    assert set(status.bytes_by_form) == {"plain", "compressed"}
    assert status.oldest_record_at == START + 4 * DAY
    assert status.over_bytes == 0
    assert status.last_success_at == NOW
    assert status.next_run_at is not None
    assert status.next_run_at.utcoffset() == dt.timedelta(0)
    assert status.last_error == ""


def test_gives_way(daily: LogBuilder, begin: Callable[..., RetentionSchedule]) -> None:
    wait_for(begin(), lambda status: status.last_success_at is not None)
    ionice = shutil.which("ionice")
    assert ionice, "ionice (util-linux) is not installed"
    lowest = []
    for thread in threading.enumerate():
        nice = os.getpriority(os.PRIO_PROCESS, thread.native_id or 0)
        told = subprocess.run(
            [ionice, "-p", str(thread.native_id)], capture_output=True, text=True, check=True
        )
        if nice == 19 and told.stdout.strip() == "best-effort: prio 7":
            lowest.append(thread)
    assert lowest
    assert threading.main_thread() not in lowest
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < 19


def test_a_run_that_fails_is_reported_and_not_a_success(
    daily: LogBuilder, begin: Callable[..., RetentionSchedule]
) -> None:
    with locked(daily.directory / ".auditlog/retention.lock"):
        status = wait_for(begin(), lambda status: status.runs == 1 and not status.running)
    assert status.failures == 1
    assert "it is held by pid" in status.last_error
    assert status.last_success_at is None


def test_a_refusal_is_told_apart(
    tmp_path: Path, daily: LogBuilder, begin: Callable[..., RetentionSchedule]
) -> None:
    totals = dict.fromkeys(("keep", "compress", "delete", "freed_bytes"), 0)
    gentler = RetentionPolicy(3 * DAY, 60 * DAY)
    (tmp_path / "state").mkdir()
    RunStore(tmp_path / "state").save(daily.directory, NOW - 2 * DAY, gentler, (), totals)
    status = wait_for(begin(), lambda status: status.runs == 1 and not status.running)
    assert status.refused
    assert "delete_after went from 60d to 6d" in status.last_error
    assert daily.paths[0].exists()


def test_the_state_stands_until_the_next_run_has_ended(
    tmp_path: Path, daily: LogBuilder, begin: Callable[..., RetentionSchedule]
) -> None:
    """An alert on it would end and be told again with every run."""
    totals = dict.fromkeys(("keep", "compress", "delete", "freed_bytes"), 0)
    gentler = RetentionPolicy(3 * DAY, 60 * DAY)
    (tmp_path / "state").mkdir()
    RunStore(tmp_path / "state").save(daily.directory, NOW - 2 * DAY, gentler, (), totals)
    clock, begun, amid = [NOW], list[RetentionSchedule](), list[Status]()

    def during_a_run() -> None:
        amid.extend(schedule.status() for schedule in begun)

    begun.append(begin(clock=lambda: clock[0], witnessed=during_a_run))
    wait_for(begun[0], lambda status: status.runs == 1 and not status.running)
    amid.clear()
    clock[0] += 2 * HOUR
    wait_for(begun[0], lambda status: status.runs == 2 and not status.running)
    assert [(status.running, status.refused) for status in amid] == [(True, True)]


def test_set_back(
    begin: Callable[..., RetentionSchedule],
    daily: LogBuilder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The scheduler's clock is set back, and a day later by our clock a run is overdue."""
    clock = [NOW]
    totals = dict.fromkeys(("keep", "compress", "delete", "freed_bytes"), 0)
    (tmp_path / "state").mkdir()
    RunStore(tmp_path / "state").save(daily.directory, NOW, POLICY, (), totals)

    class SetBack(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> SetBack:
            return super().now(tz) - 2 * HOUR

    schedule = begin(clock=lambda: clock[0])
    monkeypatch.setattr("apscheduler.schedulers.base.datetime", SetBack)
    clock[0] = NOW + 2 * DAY
    wait_for(schedule, lambda status: status.runs == 1)


def test_stops(
    tmp_path: Path, begin: Callable[..., RetentionSchedule], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked to stop after the first of several pieces of a segment that is being compressed."""
    text = {"text": "x" * 1000}
    at = START + 4 * DAY
    built = write_log(tmp_path / "audit", records=1500, segments=2, days=4, at=at, details=text)
    reached, go_on, write_all = threading.Event(), threading.Event(), durable_fs.write_all
    pieces = []

    def write_and_wait(fd: int, data: bytes) -> None:
        if not reached.is_set() and threading.current_thread() is not threading.main_thread():
            reached.set()
            go_on.wait(PATIENCE)
        pieces.append(len(data))
        write_all(fd, data)

    monkeypatch.setattr(durable_fs, "write_all", write_and_wait)
    schedule = begin()
    assert reached.wait(PATIENCE)
    wait_for(schedule, lambda status: status.running)
    stopping = threading.Thread(target=schedule.stop)
    stopping.start()
    wait_for(schedule, lambda _: schedule._stop.is_set())
    go_on.set()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
    assert len(pieces) == 1
    assert built.paths[0].exists()
    assert not list(built.directory.glob(".*.tmp"))
    status = schedule.status()
    assert (status.running, status.last_success_at, status.next_run_at) == (False, None, None)


def test_indices_come_after_the_directories_and_their_failures_are_reported(
    begin: Callable[..., RetentionSchedule], daily: LogBuilder
) -> None:
    seen: list[tuple[dt.datetime, bool]] = []

    def indices(now: dt.datetime, stop: threading.Event) -> list[str]:
        seen.append((now, daily.paths[0].exists()))
        assert not stop.is_set()
        return ["sink main: the server answered 503"]

    schedule = begin(indices=indices)
    status = wait_for(schedule, lambda status: status.failures == 1 and not status.running)
    assert seen == [(NOW, False)]
    assert (status.runs, status.last_error) == (1, "sink main: the server answered 503")
    assert status.last_success_at == NOW
