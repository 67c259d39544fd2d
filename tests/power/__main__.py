"""``python -m tests.power [CUTS [SEED [MACHINE…]]]``: cut the power, and say what the disks kept.

Of a machine that writes, and of one with an agent beside the writer.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from tests.power.cuts import Series
from tests.power.machine import AGENT, FILESYSTEMS, WRITER, Guest, Machine, Unavailable

MACHINES = {"writer": WRITER, "agent": AGENT}
CACHE = Path(__file__).parents[2] / ".cache" / "power"
STATES = 6
"""Disks of other instants that are looked at after each cut of the agent's machine."""
PROMISES = 100
"""The most that the agent's machine acknowledges before it is cut: some segments."""


def main(arguments: list[str]) -> int:
    cuts = int(arguments[0]) if arguments else 200
    seed = int(arguments[1]) if arguments[1:] else time.time_ns()
    print(f"{cuts} cuts of each machine, seed {seed}", flush=True)
    try:
        for name in arguments[2:] or MACHINES:
            run(name, MACHINES[name], cuts, seed)
    except Unavailable as error:
        print(f"power: {error}", file=sys.stderr)
        return 1
    return 0


def run(name: str, guest: Guest, cuts: int, seed: int) -> None:
    with tempfile.TemporaryDirectory(prefix="auditlog-power-") as directory:
        machine = Machine.prepare(CACHE, Path(directory), guest)
        for number, filesystem in enumerate(FILESYSTEMS):
            share = -(-(cuts - number) // len(FILESYSTEMS))
            series = Series(
                machine, Path(directory, filesystem), filesystem, random.Random(seed + number)
            )
            if guest is AGENT:
                series.states, series.most = STATES, PROMISES
            for _ in range(share):
                series.cut()
            if share:
                series.look()
            print(f"{name} on {summary(series)}", flush=True)


def summary(series: Series) -> str:
    text = (
        f"{series.filesystem}: {series.cuts} cuts, {series.looked_at} more disks, "
        f"{len(series.acknowledged)} promises, {series.dropped_writes} unflushed writes dropped, "
    )
    if series.counts:
        last = ", ".join(f"{count} {name}" for name, count in series.counts[-1].items())
        text += f"{last}, {len(series.entries)} quarantined, {len(series.signed)} checkpoints, "
    return text + "none lost"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
