"""``python -m tests.power [CUTS]``: cut the power of a writer, and say what its disk kept."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from tests.power.cuts import Series
from tests.power.machine import FILESYSTEMS, Machine, Unavailable

CACHE = Path(__file__).parents[2] / ".cache" / "power"


def main(arguments: list[str]) -> int:
    cuts = int(arguments[0]) if arguments else 200
    seed = int(arguments[1]) if arguments[1:] else time.time_ns()
    print(f"{cuts} cuts, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="auditlog-power-") as name:
        try:
            machine = Machine.prepare(CACHE, Path(name))
        except Unavailable as error:
            print(f"power: {error}", file=sys.stderr)
            return 1
        for number, filesystem in enumerate(FILESYSTEMS):
            series = Series(
                machine, Path(name, filesystem), filesystem, random.Random(seed + number)
            )
            for _ in range(-(-(cuts - number) // len(FILESYSTEMS))):
                series.cut()
            series.look()
            print(
                f"{filesystem}: {series.cuts} cuts, {len(series.acknowledged)} promises, "
                f"{series.dropped_writes} unflushed writes dropped, none lost",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
