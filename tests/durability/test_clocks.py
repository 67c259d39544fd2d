"""Days, clocks and segments while many threads write."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import auditlog
from auditlog import FlushPolicy
from tests.support.oracle import whole_chain
from tests.support.writers import DAY_NS, NOON_NS

HOUR_NS = 3_600_000_000_000


class Clock:
    """Moved by the test; every reading is a microsecond after the one before."""

    def __init__(self, now_ns: int = NOON_NS) -> None:
        self.now_ns = now_ns
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.now_ns += 1000
            return self.now_ns


def open_log(directory: Path, clock: Callable[[], int], **options: object) -> auditlog.Log:
    settings: dict[str, object] = {"flush": FlushPolicy.batched(), "max_segment_bytes": 70_000}
    return auditlog.open(
        directory,
        service="queen-rbee",
        host="hive1",
        clock=clock,
        space_low_bytes=0,
        space_critical_bytes=0,
        **{**settings, **options},  # type: ignore[arg-type]  # as the caller gives them
    )


def run_threads(count: int, work: Callable[[int], None]) -> None:
    failed: list[BaseException] = []

    def guarded(index: int) -> None:
        try:
            work(index)
        except BaseException as error:  # noqa: BLE001  (raised again below)
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


@pytest.mark.parametrize("flush", ["immediate", "batched", "hybrid"])
def test_midnight_under_load_from_many_threads(flush: str, places: Callable[[], Path]) -> None:
    """Three midnights, with segments that are full meanwhile and at the same moment."""
    directory, clock = places(), Clock(NOON_NS + DAY_NS // 2 - 200_000)
    log = open_log(directory, clock, flush=flush)
    tickets: list[auditlog.Ticket] = []

    def work(index: int) -> None:
        rng = random.Random(index)
        for number in range(100):
            details = {"number": index * 1000 + number, "pad": "x" * rng.choice((0, 3000, 20_000))}
            tickets.append(log.emit("crash.test", details=details, durable=number % 20 == 0))
            if index == 0 and number in (40, 80):
                clock.now_ns += DAY_NS - 100_000

    run_threads(6, work)
    log.close()
    chain = whole_chain(directory)
    there = {line.seq: line.hash for line in chain}
    assert len(tickets) == 600
    assert all(there[ticket.seq] == ticket.hash for ticket in tickets)
    assert len({line.day for line in chain}) >= 3
    sizes = [path.stat().st_size for path in directory.glob("*.ndjson")]
    assert len(sizes) > 20
    assert max(sizes) <= 70_000
    assert auditlog.verify(directory).ok


def test_size_limit_and_midnight_at_once_give_one_new_segment(places: Callable[[], Path]) -> None:
    directory, clock = places(), Clock()
    with open_log(directory, clock) as log:
        for number in range(3):
            log.emit("crash.test", details={"number": number, "pad": "x" * 20_000})
        clock.now_ns += DAY_NS
        log.emit("crash.test", details={"number": 3, "pad": "x" * 20_000})
    names = sorted(path.name for path in directory.glob("*.ndjson"))
    assert [name.split(".")[1:3] for name in names] == [
        ["2026-11-23", "0001"],
        ["2026-11-24", "0001"],
    ]
    whole_chain(directory)


@pytest.mark.parametrize("step_ns", [-HOUR_NS, -DAY_NS, -3 * DAY_NS, 365 * DAY_NS])
def test_a_stepped_clock_is_recorded_and_no_segment_comes_twice(
    step_ns: int, places: Callable[[], Path]
) -> None:
    """Back by an hour or a day; forward by a year and then back again."""
    directory, clock = places(), Clock()
    for life in range(2):
        with open_log(directory, clock) as log:
            for number in range(8):
                log.emit("crash.test", details={"number": number, "pad": "x" * 15_000})
                if number == 2:
                    clock.now_ns += step_ns
                if number == 5:
                    clock.now_ns -= step_ns
        if life == 0:
            clock.now_ns += step_ns  # while nothing runs, too
    if step_ns == -3 * DAY_NS:  # the second life found the log more than a day ahead
        assert {str(log.log) for log in auditlog.verify(directory).logs} == {
            "queen-rbee@hive1",
            "queen-rbee@hive1+s1",
        }
    chain = whole_chain(directory)
    names = [line.segment for line in chain if line.event_type == "log.segment_opened"]
    assert names == sorted(set(names)), "part numbers are never used again"
    days = [line.day for line in chain]
    assert days == sorted(days), "a day never goes backwards"
    assert any(line.event_type == "log.clock_stepped" for line in chain)
    assert auditlog.verify(directory).ok


def test_sleep_of_the_machine_is_no_step_and_what_follows_is_in_its_own_day(
    places: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Suspend: wall clock and boot clock go on together, and nothing of ours ran meanwhile."""
    read, asleep = time.clock_gettime_ns, [0]

    def clock_gettime_ns(clock: int) -> int:  # only the boot clock goes on in suspend
        return read(clock) + (asleep[0] if clock == time.CLOCK_BOOTTIME else 0)

    monkeypatch.setattr(time, "clock_gettime_ns", clock_gettime_ns)
    start = NOON_NS - read(time.CLOCK_BOOTTIME)
    directory = places()
    with open_log(directory, lambda: start + time.clock_gettime_ns(time.CLOCK_BOOTTIME)) as log:
        log.emit("crash.test", details={"number": 1})
        asleep[0] = 3 * DAY_NS
        log.emit("crash.test", details={"number": 2})
    chain = whole_chain(directory)
    days = {line.number: line.day for line in chain if line.number is not None}
    assert days == {1: "2026-11-23", 2: "2026-11-26"}
    assert "log.clock_stepped" not in {line.event_type for line in chain}
    assert auditlog.verify(directory).ok


def test_a_segment_of_tomorrow_is_continued_and_says_what_the_clock_said(
    places: Callable[[], Path],
) -> None:
    """A clock that was a day ahead and was set right: tomorrow's segment is gone on with."""
    directory = places()
    with open_log(directory, Clock(NOON_NS + DAY_NS)) as log:
        log.emit("crash.test", details={"number": 1})
    with open_log(directory, Clock(NOON_NS)) as log:
        log.emit("crash.test", details={"number": 2})
    with open_log(directory, Clock(NOON_NS + 2 * DAY_NS)) as log:
        log.emit("crash.test", details={"number": 3})
    chain = whole_chain(directory)
    by_number = {line.number: line for line in chain if line.number is not None}
    assert [by_number[number].day for number in (1, 2, 3)] == [
        "2026-11-24",
        "2026-11-24",
        "2026-11-25",
    ]
    assert by_number[2].fields["details"]["clock_at"].startswith("2026-11-23T12:")
    assert "clock_at" not in by_number[3].fields["details"]
    assert len(list(directory.glob("*.ndjson"))) == 2


def test_an_empty_segment_of_tomorrow_is_used_and_of_yesterday_passed_over(
    places: Callable[[], Path],
) -> None:
    for ahead, expected in ((1, ["2026-11-24.0001"]), (-1, ["2026-11-22.0001", "2026-11-23.0001"])):
        directory = places()
        day = 23 + ahead
        directory.joinpath(f"queen-rbee@hive1.2026-11-{day}.0001.ndjson").touch(mode=0o600)
        with open_log(directory, Clock()) as log:
            log.emit("crash.test", details={"number": 1})
        names = sorted(path.name for path in directory.glob("*.ndjson"))
        assert [name.split(".", 1)[1].removesuffix(".ndjson") for name in names] == expected
        numbers = [line.number for line in whole_chain(directory) if line.number is not None]
        assert numbers == [1]
        assert auditlog.verify(directory).ok
