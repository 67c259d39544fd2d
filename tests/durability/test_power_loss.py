"""The power fails: after any system call of a writer, with whatever the disk then kept.

A writer runs under strace; its calls are replayed on a model of a disk (tests/support/power.py);
from each state that a power loss can leave the directory is rebuilt and opened again.
AUDITLOG_POWER_LOSS_STATES says how many states are tried after each call (12).
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest

import auditlog
from tests.support.forked import ForkServer
from tests.support.oracle import Acks, whole_chain
from tests.support.power import TRACED, Disk, Operation, State, parse_trace
from tests.support.writers import DAY_NS, NOON_NS

STATES = int(os.environ.get("AUDITLOG_POWER_LOSS_STATES", "12"))


@dataclass
class Recording:
    """The system calls of several writers in a directory, and the promises they got."""

    place: Path
    operations: list[Operation] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        return self.place / "log"

    def session(
        self, server: ForkServer, *strace: str, first: int = 1, day: int = 0, short: bool = True
    ) -> int:
        child = server.start(
            "tests.support.writers:story",
            directory=self.directory,
            acks=Acks(self.place / "acks").path,
            first=first,
            day=day,
            short=short,
        )
        status, trace = child.run(["-xx", "-s", "200000", "-e", TRACED, *strace])
        self.operations += parse_trace(trace)
        return status


def promised(operation: Operation) -> dict[int, tuple[str, int]]:
    """Return the promise that the writer noted with this call."""
    if operation.name != "writev" or not operation.strings[0].startswith(b"ack "):
        return {}
    _, seq, digest, number = operation.strings[0].decode().split()
    return {int(seq): (digest, int(number))}


class Survivors:
    """Opens every state once and checks that what was promised before it is there."""

    def __init__(self, places: Callable[[], Path]) -> None:
        self._places = places
        self._seen: set[State] = set()
        self.opened = 0

    def check(self, state: State, promises: dict[int, tuple[str, int]], when: str) -> None:
        key = State((*state.files, (PurePosixPath(str(len(promises))), None)))
        if key in self._seen:
            return
        self._seen.add(key)
        self.opened += 1
        place = self._places()
        state.put(place)
        directory = place / "log"
        try:
            log = auditlog.open(
                directory, service="queen-rbee", host="hive1", clock=lambda: NOON_NS + 3 * DAY_NS
            )
            ticket = log.emit("after.it")
            log.close()
            chain = whole_chain(directory)
            there = {line.seq: (line.hash, line.number) for line in chain}
            lost = [seq for seq, promise in promises.items() if there.get(seq) != promise]
            assert not lost, f"lost {lost}"
            assert there[ticket.seq][0] == ticket.hash
            for line in chain:
                if line.event_type == "log.recovered":
                    kept = directory / ".auditlog" / line.fields["details"]["kept"]
                    digest = hashlib.sha256(kept.read_bytes()).hexdigest()
                    assert digest == line.fields["details"]["sha256"], f"{kept.name} was not kept"
            report = auditlog.verify(directory)
            assert report.ok, report.findings
        except (AssertionError, OSError, auditlog.AuditLogError) as error:
            left = {str(path): None if raw is None else len(raw) for path, raw in state.files}
            pytest.fail(f"power lost {when}: {type(error).__name__}: {error}\nleft: {left}")


def lose_power(
    recording: Recording, survivors: Survivors, states: int, seed: int, skip: int = 0
) -> None:
    """After every call from the ``skip``-th on."""
    disk, promises, rng = Disk(recording.place), {}, random.Random(seed)
    for index, operation in enumerate(recording.operations):
        promises.update(promised(operation))
        changed = disk.apply(operation)
        if index >= skip and (changed or operation.name == "writev"):
            when = f"after call {index}, {operation.name}({operation.strings[:1]!r:.90}"
            for state in disk.after_power_loss(rng, states):
                survivors.check(state, promises, when)


@pytest.mark.parametrize("before", ["new", "torn"])
def test_power_may_fail_after_every_system_call(
    before: str, places: Callable[[], Path], traced: ForkServer
) -> None:
    recording, survivors = Recording(places()), Survivors(places)
    skip = 0
    if before == "torn":
        # Killed before its last write, of which then only a part is there.
        assert recording.session(traced, "-e", "inject=fdatasync:signal=KILL:when=2") == -9
        skip = len(recording.operations)
        torn = _half_a_write(recording)
        recording.operations.append(torn)
    assert recording.session(traced, first=100, day=1, short=False) == 0
    assert len(whole_chain(recording.directory)) > 10
    lose_power(recording, survivors, STATES, seed=1, skip=skip)
    assert survivors.opened > 100


def _half_a_write(recording: Recording) -> Operation:
    """Put the first bytes of a record behind the segment, as a killed write(2) does."""
    segment = next(recording.directory.glob("*.ndjson"))
    piece = b'{"v":1,"log":"queen-rbee@hive1","seq":4,"prev_hash":"' + b"0" * 5000
    with segment.open("ab") as file:
        file.write(piece)
    last = next(
        operation
        for operation in reversed(recording.operations)
        if operation.name == "write" and operation.strings[0].startswith(b'{"v":1')
    )
    return Operation(last.process, "write", last.arguments, (piece,), len(piece))


@pytest.mark.parametrize("day", [0, 1])
@pytest.mark.parametrize("call", ["fdatasync", "fsync", "write", "rename"])
def test_power_may_fail_after_a_killed_writer_was_followed_by_another(
    call: str, day: int, places: Callable[[], Path], traced: ForkServer
) -> None:
    """The second builds on what the first had written, also where that was not yet durable."""
    survivors = Survivors(places)
    for nth in range(1, 30):
        recording = Recording(places())
        killed = recording.session(traced, "-e", f"inject={call}:signal=KILL:when={nth}")
        skip = len(recording.operations)
        assert recording.session(traced, first=100, day=day) == 0
        lose_power(recording, survivors, 2 if STATES < 50 else STATES, seed=nth, skip=skip)
        if killed == 0:
            break
    assert nth > 1


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("day", [0, 1])
def test_power_may_fail_after_a_failed_sync_was_followed_by_another_writer(
    nth: int, day: int, places: Callable[[], Path], traced: ForkServer
) -> None:
    """Bytes that a failed fdatasync(2) left in the page cache only are not relied upon."""
    recording, survivors = Recording(places()), Survivors(places)
    struck = ["-e", f"inject=fdatasync:error=EIO:when={nth}"]
    assert recording.session(traced, *struck) != 0
    skip = len(recording.operations)
    assert recording.session(traced, first=100, day=day) == 0
    lose_power(recording, survivors, STATES, seed=nth, skip=skip)
