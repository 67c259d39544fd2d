"""``python -m tests.power [CUTS [SEED [PROGRAM…]]]``: cut the power, and say what the disks kept.

Of a machine on whose disks programs write, and of one with an agent beside each writer, which is
slower and cut less often.  Ends with a table of what was done; exit code 1 after a loss.
"""

from __future__ import annotations

import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.power.cuts import Cuts, Series
from tests.power.machine import FILESYSTEMS, Machine, Unavailable

PARTS = {"writer": 1.0, "agent": 0.15}
"""The programs, and the part of the cuts that each one's machine is given."""
STATES = {"writer": 0, "agent": 6}
"""How many disks of other instants are looked at after each cut."""
CLOCKS = {"writer": (0, 6 * 3600, 0, -6 * 3600), "agent": (0,)}
"""How far the clocks of the boots are ahead; the retention of an agent stops if its clock jumps."""
CACHE = Path(__file__).parents[2] / ".cache" / "power"
PROMISES = {"writer": 100, "agent": 40}
"""The most that a boot acknowledges of a disk before it is cut: some segments of the agent's."""
SECONDS = 8
"""The most that passes after those promises."""
CUTS_OF_A_DISK = 10
"""Looking at a disk takes longer after each cut, so another one follows after these."""

_COLUMNS = ("disk", "cuts", "replayed", "writes dropped", "acknowledged", "lost", "doubled")
_ROW = "{:16}{:>8}{:>10}{:>16}{:>14}{:>8}{:>9}"


def main(arguments: list[str]) -> int:
    cuts = int(arguments[0]) if arguments else 200
    seed = int(arguments[1]) if arguments[1:] else time.time_ns()
    print(f"{cuts} cuts, seed {seed}", flush=True)
    place = Path(tempfile.mkdtemp(prefix="auditlog-power-"))
    done: list[Series] = []
    keep = False
    try:
        machine = Machine.prepare(CACHE, place)
        for program in arguments[2:] or PARTS:
            count = math.ceil(cuts * PARTS[program])
            for series in run(machine, place, program, count, random.Random(seed)):
                done.append(series)  # noqa: PERF402  (it counts, should the run end here)
    except Unavailable as error:
        print(f"power: {error}", file=sys.stderr)
        return 1
    except AssertionError as error:
        print(f"power: {error}\nThe disks are kept in {place}", file=sys.stderr)
        keep = True
        return 1
    finally:
        print("\n".join(table(done)), flush=True)
        if not keep:
            shutil.rmtree(place)
    return 0


def run(
    machine: Machine, place: Path, program: str, cuts: int, rng: random.Random
) -> Iterator[Series]:
    """Yield each series before its first cut."""
    for first in range(0, cuts, CUTS_OF_A_DISK):
        directory = place / f"{program}.{first}"
        directory.mkdir()
        series = [Series(directory / f, program, f, STATES[program]) for f in FILESYSTEMS]
        yield from series
        made = Cuts(machine, series, rng, PROMISES[program], SECONDS, CLOCKS[program])
        for number in range(first, min(first + CUTS_OF_A_DISK, cuts)):
            begun = time.monotonic()
            made.cut()
            made.look()
            took = time.monotonic() - begun
            said = "; ".join(map(so_far, series))
            print(f"{program}, cut {number + 1}, {took:.0f} s: {said}", flush=True)
        # A machine that starts cold at the end of the first disks; it mounts what a cut has left.
        made.look(last=True, cold=first == 0)
        shutil.rmtree(directory)


def so_far(series: Series) -> str:
    """Return what a disk holds, as of its last boot."""
    counts = {"acknowledged": len(series.acknowledged), **series.counts}
    if series.signed:
        counts |= {"quarantined": len(series.entries), "checkpoints": len(series.signed)}
    return series.filesystem + "".join(f" {name}={count}" for name, count in counts.items())


def table(done: Iterable[Series]) -> Iterator[str]:
    """Yield a row for each program and file system: the sums of its disks."""
    together: dict[str, list[Series]] = {}
    for each in done:
        together.setdefault(each.name, []).append(each)
    yield _ROW.format(*_COLUMNS)
    for name, disks in together.items():
        yield _ROW.format(
            name,
            sum(each.cuts for each in disks),
            sum(each.replayed for each in disks),
            sum(each.dropped_writes for each in disks),
            sum(len(each.acknowledged) for each in disks),
            sum(each.lost for each in disks),
            sum(each.doubled for each in disks),
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
