"""Writers that are killed: under load at any moment, and at every single system call.

AUDITLOG_TORTURE_KILLS says how many kills under load there are (100; ``make torture``: 1,000).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import auditlog
from tests.support.forked import ForkServer
from tests.support.oracle import Acks, Line, lines_of, whole_chain
from tests.support.waiting import eventually
from tests.support.writers import DAY_NS, NOON_NS

KILLS = int(os.environ.get("AUDITLOG_TORTURE_KILLS", "100"))

SERVICES = ("queen-rbee", "rbee-hive", "model-catalog")

STRUCK = [
    "mkdir",
    "chmod",
    "openat",
    "fchmod",
    "flock",
    "ftruncate",
    "pwrite64",
    "write",
    "fdatasync",
    "fsync",
    "rename",
    "close",
    "unlink",
]


class Follower:
    """Checks what a log has grown by since it was last looked at, and remembers no more."""

    def __init__(self, directory: Path, service: str) -> None:
        self._directory = directory
        self._log = f"{service}@hive1"
        self._seq = 0
        self._hash = "0" * 64
        self._segment = ""
        self._offset = 0

    def grown(self) -> dict[int, Line]:
        """The whole records that came to the log, which have to follow those before them."""
        found = {}
        for segment in sorted(self._directory.glob(f"{self._log}.*.ndjson")):
            if segment.name < self._segment:
                continue
            offset = self._offset if segment.name == self._segment else 0
            for line in lines_of(segment, offset):
                assert line.seq == self._seq + 1
                assert line.prev_hash == self._hash
                self._seq, self._hash = line.seq, line.hash
                found[line.seq] = line
            if segment.name == self._segment or segment.stat().st_size:
                self._segment = segment.name
                self._offset = segment.read_bytes().rfind(b"\n") + 1
        return found


def test_no_acknowledged_event_is_lost_to_kills_under_load(
    tmp_path: Path, forks: ForkServer
) -> None:
    """Three logs in one directory, each killed at random moments and opened again at once."""
    directory, rng = tmp_path / "log", random.Random(20261123)
    followers = {service: Follower(directory, service) for service in SERVICES}
    kills = acknowledged = 0
    modes: set[str] = set()
    while kills < KILLS:
        running = []
        for service in SERVICES:
            acks = Acks(tmp_path / f"{service}.{kills}")
            child = forks.start(
                "tests.support.writers:load",
                directory=directory,
                acks=acks.path,
                service=service,
                seed=rng.randrange(10**9),
                first=kills * 10_000_000,
            )
            running.append((service, acks, child))
            kills += 1
        if rng.random() < 0.8:
            eventually(lambda: all(acks.taken() for _, acks, _ in running))  # noqa: B023  (called at once)
        time.sleep(rng.uniform(0, 0.08))
        for service, acks, child in running:
            child.kill()
            assert child.wait() == -9
            there = followers[service].grown()
            promised = acks.taken()
            assert {seq: (there[seq].hash, there[seq].number) for seq in promised} == promised
            acknowledged += len(promised)
            modes.update(acks.said("opened"))
            acks.path.unlink()
    assert auditlog.verify(directory).ok
    for service in SERVICES:
        with auditlog.open(directory, service=service, host="hive1"):
            pass
        chain = whole_chain(directory, f"{service}@hive1")
        assert sum(line.event_type == "log.opened" for line in chain) > KILLS // 4
    assert auditlog.verify(directory).ok
    assert modes == {"immediate", "batched", "hybrid"}
    assert acknowledged > 5 * KILLS


@pytest.mark.parametrize("before", ["new", "torn", "long"])
def test_every_system_call_may_be_the_last(
    before: str, places: Callable[[], Path], traced: ForkServer
) -> None:
    """Killed before its n-th call of each kind, a log loses nothing and opens again."""
    kills = 0
    for call in STRUCK:
        for nth in range(1, 200):
            place = places()
            directory, acks = place / "log", Acks(place / "acks")
            if before != "new":
                with auditlog.open(directory, service="queen-rbee", host="hive1", clock=_yesterday):
                    pass
            if before == "torn":
                segment = next(directory.glob("*.ndjson"))
                with segment.open("ab") as file:
                    file.write(b'{"v":1,"log":"queen-rbee@hive1","seq":4,"prev_h\0\0\0')
            child = traced.start(
                "tests.support.writers:story",
                directory=directory,
                acks=acks.path,
                short=before != "long",
            )
            status, _ = child.run(
                ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={nth}"]
            )
            _opens_again(directory, acks)
            if status == 0:
                assert acks.said("closed") == [""]
                break
            assert status == -9
            kills += 1
        else:
            pytest.fail(f"{call} was never survived")
    assert kills > 20


def _yesterday() -> int:
    return NOON_NS - DAY_NS


def _opens_again(directory: Path, acks: Acks) -> None:
    log = auditlog.open(
        directory, service="queen-rbee", host="hive1", clock=lambda: NOON_NS + DAY_NS
    )
    ticket = log.emit("after.it")
    log.close()
    chain = whole_chain(directory)
    assert acks.missing_from(chain) == []
    assert [line.hash for line in chain if line.seq == ticket.seq] == [ticket.hash]
    numbers = [line.number for line in chain if line.number is not None]
    assert numbers == sorted(set(numbers)), "an event is there twice or out of order"
    report = auditlog.verify(directory)
    assert report.ok, report.findings


def test_exceptions_from_signal_handlers_lose_nothing_acknowledged(
    places: Callable[[], Path], forks: ForkServer
) -> None:
    """Ctrl-C or a timeout by alarm(2) in the middle of emit leaves a log that works."""
    place = places()
    directory, acks = place / "log", Acks(place / "acks")
    child = forks.start(
        "tests.support.writers:struck_by_signals", directory=directory, acks=acks.path, events=2000
    )
    child.go()
    try:
        eventually(lambda: acks.said("closed") or acks.said("failed"))
    except AssertionError:
        child.kill()
        raise
    finally:
        child.wait()
    assert acks.said("failed") == []
    assert int(acks.said("interrupted")[0]) > 50
    assert [number for _, number in acks.taken().values()][-1] == 2001, "it did not go on"
    assert acks.missing_from(whole_chain(directory)) == []
    assert auditlog.verify(directory).ok
