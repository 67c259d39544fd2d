"""Ship the backlog with each program, killed three times: count lost and duplicate documents."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from benchmarks.backlog import backlog
from benchmarks.harness import Case, Ratio
from benchmarks.peers import work
from benchmarks.peers.contenders import CONTENDERS
from benchmarks.peers.index import Indices

KILLS = 3
RECORDS = work.records_of(150_000)
TITLE = f"Peers under faults: {RECORDS:,} records, {KILLS} x SIGKILL on the way"
UNIT = "records"


def setting() -> AbstractContextManager[Mapping[str, str]]:
    return work.setting(backlog(RECORDS))


def _lost(name: str) -> float:
    return float(work.run(name, CONTENDERS[name][1], Indices, KILLS).lost)


def _doubled(name: str) -> float:
    return float(work.noted(name).doubled)


CASES = {
    f"{name}: {what}": Case(f"documents {text}", lambda name=name, figure=figure: figure(name))  # type: ignore[misc]  # bound now
    for name in CONTENDERS
    for what, text, figure in (
        ("lost", "missing from the index", _lost),
        ("doubled", "there more than once", _doubled),
    )
}
RATIOS: tuple[Ratio, ...] = ()
