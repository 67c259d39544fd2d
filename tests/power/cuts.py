"""Cut the power of a machine again and again, and hold its disk against its promises."""

from __future__ import annotations

import random
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.power.disk_log import replay_flushed, replay_some
from tests.power.machine import Machine, Session
from tests.support.waiting import eventually

__all__ = ["Series"]


@dataclass
class Series:
    """The cuts of one file system.

    ``acknowledged`` are all promises so far, seq to hash; ``signed`` every checkpoint that was seen
    on a disk, size to root; ``entries`` what was in quarantine at the last cut.  The power is cut
    after up to ``most`` promises.  Then ``states`` other disks that it might have left are looked
    at as well.
    """

    machine: Machine
    place: Path
    filesystem: str
    rng: random.Random
    states: int = 0
    most: int = 0
    acknowledged: dict[int, str] = field(default_factory=dict)
    signed: dict[str, str] = field(default_factory=dict)
    entries: set[str] = field(default_factory=set)
    counts: list[dict[str, int]] = field(default_factory=list)
    cuts: int = 0
    looked_at: int = 0
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
        _copy(self.image, before)
        session = self.machine.boot(self.image, self.filesystem, self._log)
        try:
            self._look(session, "READY")
            promises = self.rng.randint(0, self.most)
            eventually(lambda: _promises(session) >= promises, f"{promises} promises", 900)
            time.sleep(self.rng.uniform(0, 8))  # the random instant of the cut
        finally:
            session.cut()
        for line in session.said():
            word, _, rest = line.partition(" ")
            if word == "ACK":
                seq, digest = rest.split()
                self.acknowledged[int(seq)] = digest
        self._look_at_states(before)
        if self.cuts % 2 == 0:
            _, dropped = replay_flushed(self._log, before)
            self.dropped_writes += dropped
            before.replace(self.image)

    def look(self) -> None:
        """Boot once more and only look."""
        session = self.machine.look([self.image], self.filesystem)
        try:
            self._look(session, "DONE")
        finally:
            session.cut()

    def _look(self, session: Session, until: str) -> None:
        """Every promise is kept, by what the machine finds on its disk."""
        lines = self._said(session, until)
        self._keep_facts(lines)
        found = dict(line.split()[1:] for line in lines if line.startswith("FOUND "))
        lost = {s for s, digest in self.acknowledged.items() if found.get(str(s)) != digest}
        assert not lost, (
            f"{self.filesystem}: {len(lost)} acknowledged records are gone, as {min(lost)}"
        )
        entries = {line.partition(" ")[2] for line in lines if line.startswith("ENTRY ")}
        assert self.entries <= entries, f"gone from quarantine: {min(self.entries - entries)}"
        self.entries = entries

    def _look_at_states(self, before: Path) -> None:
        """Look at disks of other instants, with some of the writes that no flush had followed."""
        paths = [self.place / f"state{number}.img" for number in range(self.states)]
        for path in paths:
            _copy(before, path)
            _, dropped = replay_some(self._log, path, self.rng)
            self.dropped_writes += dropped
        if not paths:
            return
        session = self.machine.look(paths, self.filesystem)
        try:
            lines = self._said(session, "END")
        finally:
            session.cut()
        self._keep_facts(lines)
        assert lines.count("VERIFIED") == lines.count("DONE") == len(paths), lines[-30:]
        self.looked_at += len(paths)
        for path in paths:
            path.unlink()

    def _said(self, session: Session, until: str) -> list[str]:
        def ready() -> bool:
            lines = session.said()
            _not_damaged(lines)
            assert session.running or until in lines, f"it ended:\n{lines[-30:]}"
            return until in lines

        eventually(ready, f"{self.filesystem}: {until}", 900)
        lines = session.said()
        assert "VERIFIED" in lines
        return lines

    def _keep_facts(self, lines: list[str]) -> None:
        """No two checkpoints of one size differ, on whatever disk they were seen."""
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "SIGNED":
                size, root = rest.split()
                assert self.signed.setdefault(size, root) == root, f"two roots are signed at {size}"
            elif word == "COUNTS":
                counts = (pair.split("=") for pair in rest.split())
                self.counts.append({name: int(number) for name, number in counts})


def _promises(session: Session) -> int:
    lines = session.said()
    _not_damaged(lines)
    return sum(line.startswith("ACK ") for line in lines)


def _not_damaged(lines: list[str]) -> None:
    assert not any(line.startswith("DAMAGED") for line in lines), "\n".join(lines[-20:])


def _copy(path: Path, to: Path) -> None:
    subprocess.run(["cp", "--sparse=always", str(path), str(to)], check=True)
