"""Cut the power of a machine again and again, and hold its disks against their promises."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.power.disk_log import replay_flushed, replay_some
from tests.power.machine import Disk, Machine, Session, Unavailable
from tests.power.words import Words
from tests.support.waiting import eventually

__all__ = ["Cuts", "Series"]

_BOUND_SECONDS: Final = 900


@dataclass
class Series:
    """The cuts of one disk, and all that was promised and seen of it so far.

    ``acknowledged`` are the promises, seq to hash; ``signed`` every checkpoint that was seen on a
    disk, size to root; ``entries`` what was in quarantine at the last cut.  After each cut,
    ``states`` disks of other instants wait to be looked at as well.
    """

    place: Path
    program: str
    filesystem: str
    states: int = 0
    acknowledged: dict[str, str] = field(default_factory=dict)
    signed: dict[str, str] = field(default_factory=dict)
    entries: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    cuts: int = 0
    replayed: int = 0
    dropped_writes: int = 0
    lost: int = 0
    doubled: int = 0
    waiting: list[Disk] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.place.mkdir()
        image, log = self.place / "disk.img", self.place / "writes.log"
        self.disk = Disk(image, self.filesystem, self.program, log)
        self.disk.make_filesystem()
        self._before = self.place / "before.img"

    @property
    def name(self) -> str:
        return f"{self.program} on {self.filesystem}"

    def keep_image(self) -> None:
        _copy(self.disk.image, self._before)

    def end_boot(self, words: Words, rng: random.Random) -> None:
        """Take the promises, and prepare what another instant would have left.

        Every second disk, the first one included, drops what was not flushed.
        """
        self.acknowledged |= words.acknowledged
        self.cuts += 1
        for number in range(self.states):
            path = self.place / f"state{number}.img"
            _copy(self._before, path)
            _, dropped = replay_some(self._log, path, rng)
            self.dropped_writes += dropped
            self.replayed += 1
            self.waiting.append(Disk(path, self.filesystem, self.program))
        if self.cuts % 2:
            _, dropped = replay_flushed(self._log, self._before)
            self.dropped_writes += dropped
            self.replayed += 1
            self._before.replace(self.disk.image)

    def check_promises(self, words: Words) -> None:
        """Every promise is kept, by what the machine finds on its disk."""
        self.check_disk(words)
        kept = words.found.items()
        lost = [int(seq) for seq, digest in self.acknowledged.items() if (seq, digest) not in kept]
        self.lost = len(lost)
        assert not lost, f"{self.name}: {len(lost)} acknowledged records are gone, as {min(lost)}"
        gone = self.entries - words.entries
        assert not gone, f"{self.name}: gone from quarantine: {min(gone)}"
        self.entries = words.entries
        self.counts = words.counts

    def check_disk(self, words: Words) -> None:
        """It is sound, and no two checkpoints of one size differ, whatever disk they were on."""
        assert not words.damaged, f"{self.name}: {words.lines[-30:]}"
        self.doubled += words.doubled
        assert not words.doubled, f"{self.name}: {words.doubled} records are there twice"
        assert "VERIFIED" in words.single, f"{self.name}: {words.lines[-30:]}"
        for size, root in words.signed:
            first = self.signed.setdefault(size, root)
            assert first == root, f"{self.name}: two roots are signed at {size}"

    @property
    def _log(self) -> Path:
        assert self.disk.log is not None
        return self.disk.log


@dataclass
class Cuts:
    """The cuts of one machine with the disks of several series.

    The power is cut once each disk has up to ``most`` promises, after up to ``seconds`` more.  The
    machine's clock is ahead by ``clock_ahead`` seconds, one after the other in turn.
    """

    machine: Machine
    series: Sequence[Series]
    rng: random.Random
    most: int
    seconds: float
    clock_ahead: Sequence[float] = (0,)
    boots: int = 0

    def cut(self) -> None:
        """Boot, look, write for a random time, and cut."""
        for each in self.series:
            each.keep_image()
        session = self._boot([each.disk for each in self.series])
        pairs = list(zip(self.series, session.words, strict=True))
        try:
            self._wait(session, self.series, lambda words: "READY" in words.single)
            for each, words in pairs:
                each.check_promises(words)
            promises = self.rng.randint(1, self.most)
            self._wait(session, self.series, lambda words: len(words.acknowledged) >= promises)
            time.sleep(self.rng.uniform(0, self.seconds))  # the random instant of the cut
        finally:
            session.cut()
        for each, words in pairs:
            assert not words.damaged, f"{each.name}: {words.lines[-30:]}"
            each.end_boot(words, self.rng)

    def look(self, *, last: bool = False, cold: bool = False) -> None:
        """Boot and only look at the disks of other instants; the ``last`` time, at all disks."""
        owners, disks = [], []
        for each in self.series:
            chosen = [each.disk._replace(log=None)] if last else []
            chosen += each.waiting
            each.waiting = []
            owners += [each] * len(chosen)
            disks += chosen
        if not disks:
            return
        session = self._boot(disks, look=True, cold=cold)
        try:
            self._wait(session, owners, lambda words: "DONE" in words.single)
        finally:
            session.cut()
        for owner, disk, words in zip(owners, disks, session.words, strict=True):
            if disk.image == owner.disk.image:
                owner.check_promises(words)
            else:
                owner.check_disk(words)
                disk.image.unlink()

    def _boot(self, disks: Sequence[Disk], *, look: bool = False, cold: bool = False) -> Session:
        """Raises Unavailable where the machine does not boot."""
        ahead = self.clock_ahead[self.boots % len(self.clock_ahead)]
        session = self.machine.boot(disks, look=look, cold=cold, clock_ahead=ahead)
        self.boots += 1
        try:
            session.wait_for("BOOTED")
            drawn = session.random_numbers
            assert not drawn & self.machine.random_numbers, "a boot repeats another one"
        except BaseException:
            session.cut()
            raise
        self.machine.random_numbers |= drawn
        return session

    def _wait(
        self, session: Session, owners: Sequence[Series], reached: Callable[[Words], bool]
    ) -> None:
        """Raises Unavailable where the machine cannot mount a file system."""

        def all_reached() -> bool:
            running = session.running
            session.listen()
            for owner, words in zip(owners, session.words, strict=True):
                if "UNMOUNTABLE" in words.single and not owner.cuts:
                    raise Unavailable(f"the machine cannot mount {owner.filesystem}")
            missing = [
                f"{owner.name}: {words.lines[-30:]}"
                for owner, words in zip(owners, session.words, strict=True)
                if not reached(words) and not words.damaged
            ]
            assert running or not missing, f"it ended:\n{missing}\n{session.said}"
            return not missing

        eventually(all_reached, ", ".join(owner.name for owner in owners), _BOUND_SECONDS)


def _copy(path: Path, to: Path) -> None:
    subprocess.run(["cp", "--sparse=always", str(path), str(to)], check=True)
