"""``python -m tests.power [CUTS [SEED [PROGRAM…]]]``: cut the power, and say what the disks kept.

Of a machine on whose disks programs write, and of one with an agent beside each writer.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from tests.power.cuts import Cuts, Series
from tests.power.machine import FILESYSTEMS, Machine, Unavailable

STATES = {"writer": 0, "agent": 6}
"""The programs, and how many disks of other instants are looked at after each cut."""
CACHE = Path(__file__).parents[2] / ".cache" / "power"
PROMISES = 100
"""The most that a disk has acknowledged before it is cut: some segments of the agent's."""
SECONDS = 8
"""The most that passes after those promises."""
CUTS_OF_A_DISK = 25
"""Looking at a disk takes longer after each cut, so another one follows after these."""


def main(arguments: list[str]) -> int:
    cuts = int(arguments[0]) if arguments else 200
    seed = int(arguments[1]) if arguments[1:] else time.time_ns()
    print(f"{cuts} cuts of each machine, seed {seed}", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="auditlog-power-") as directory:
            machine = Machine.prepare(CACHE, Path(directory))
            for program in arguments[2:] or STATES:
                run(machine, Path(directory), program, cuts, random.Random(seed))
    except Unavailable as error:
        print(f"power: {error}", file=sys.stderr)
        return 1
    return 0


def run(machine: Machine, place: Path, program: str, cuts: int, rng: random.Random) -> None:
    for first in range(0, cuts, CUTS_OF_A_DISK):
        with tempfile.TemporaryDirectory(dir=place) as directory:
            series = [Series(Path(directory, f), program, f, STATES[program]) for f in FILESYSTEMS]
            made = Cuts(machine, series, rng, PROMISES, SECONDS)
            for _ in range(first, min(first + CUTS_OF_A_DISK, cuts)):
                made.cut()
                made.look()
            made.look(last=True)
            for each in series:
                print(summary(each), flush=True)


def summary(series: Series) -> str:
    text = (
        f"{series.name}: {series.cuts} cuts, {series.looked_at} more disks, "
        f"{len(series.acknowledged)} promises, {series.dropped_writes} unflushed writes dropped, "
    )
    if series.counts:
        last = ", ".join(f"{count} {name}" for name, count in series.counts.items())
        text += f"{last}, {len(series.entries)} quarantined, {len(series.signed)} checkpoints, "
    return text + "none lost"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
