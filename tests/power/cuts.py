"""Cut the power of a writer again and again, and hold its disk against its promises."""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.power.disk_log import replay_flushed
from tests.power.machine import Machine, Session
from tests.support.waiting import eventually

__all__ = ["Series"]


@dataclass
class Series:
    """The cuts of one file system; ``acknowledged`` are all promises so far, seq to hash."""

    machine: Machine
    place: Path
    filesystem: str
    rng: random.Random
    acknowledged: dict[int, str] = field(default_factory=dict)
    cuts: int = 0
    dropped_writes: int = 0

    def __post_init__(self) -> None:
        self.place.mkdir()
        self.image, self._log = self.place / "disk.img", self.place / "writes.log"
        self.machine.make_image(self.image, self.filesystem)

    def cut(self) -> None:
        """Boot, look, write for a random time, and cut.

        Every second disk also drops what was not flushed.
        """
        self.cuts += 1
        before = self.place / "before.img"
        shutil.copyfile(self.image, before)
        session = self.machine.boot(self.image, self.filesystem, self._log)
        try:
            self._look(session, "READY")
            time.sleep(self.rng.uniform(0, 8))  # the random instant of the cut
        finally:
            session.cut()
        for line in session.said():
            word, _, rest = line.partition(" ")
            if word == "ACK":
                seq, digest = rest.split()
                self.acknowledged[int(seq)] = digest
        if self.cuts % 2 == 0:
            _, dropped = replay_flushed(self._log, before)
            self.dropped_writes += dropped
            before.replace(self.image)

    def look(self) -> None:
        """Boot once more and only look."""
        session = self.machine.boot(self.image, self.filesystem, self._log, only_look=True)
        try:
            self._look(session, "DONE")
        finally:
            session.cut()

    def _look(self, session: Session, until: str) -> None:
        """Every promise is kept, by what the machine finds on its disk."""

        def ready() -> bool:
            lines = session.said()
            assert not any(line.startswith("DAMAGED") for line in lines), lines[-5:]
            assert session.running or until in lines, f"it ended:\n{lines[-30:]}"
            return until in lines

        eventually(ready, f"{self.filesystem}: {until}", 600)
        lines = session.said()
        assert "VERIFIED" in lines
        found = dict(line.split()[1:] for line in lines if line.startswith("FOUND "))
        lost = {s for s, digest in self.acknowledged.items() if found.get(str(s)) != digest}
        assert not lost, (
            f"{self.filesystem}: {len(lost)} acknowledged records are gone, as {min(lost)}"
        )
