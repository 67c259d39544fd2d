"""Ship the backlog with each program, killed three times: count lost and duplicate documents."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.backlog import backlog
from benchmarks.harness import Case, Ratio
from benchmarks.peers.contenders import CONTENDERS
from benchmarks.peers.work import RECORDS, Done, ship

KILLS = 3
TITLE = f"Peers under faults: {RECORDS:,} records, {KILLS} x SIGKILL on the way"
UNIT = "records"


@contextmanager
def setting() -> Iterator[Mapping[str, str]]:
    """One run tells what was lost and what was doubled; the second case looks it up."""
    with backlog(RECORDS) as environment, tempfile.TemporaryDirectory() as runs:
        yield {**environment, "BENCHMARK_RUNS": runs}


def _run(name: str) -> Done:
    noted = Path(os.environ["BENCHMARK_RUNS"], name)
    if noted.exists():
        done = Done(**json.loads(noted.read_text()))
        noted.unlink()
        return done
    done = ship(name, KILLS)
    noted.write_text(json.dumps(asdict(done)))
    return done


CASES = {
    f"{name}: {what}": Case(
        f"documents {text}",
        lambda name=name, what=what: float(getattr(_run(name), what)),  # type: ignore[misc]  # bound now
    )
    for name in CONTENDERS
    for what, text in (("lost", "missing from the index"), ("doubled", "there more than once"))
}
RATIOS: tuple[Ratio, ...] = ()
