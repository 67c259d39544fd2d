"""Ship a backlog with each program: time from its start to the last document in the index."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from benchmarks.backlog import backlog
from benchmarks.harness import Case, Ratio
from benchmarks.peers.contenders import CONTENDERS
from benchmarks.peers.work import RECORDS, ship

TITLE = f"Peers: a backlog of {RECORDS:,} records into Elasticsearch 9.5.0 on the same machine"
UNIT = "records/s"


def setting() -> AbstractContextManager[Mapping[str, str]]:
    return backlog(RECORDS)


def _speed(name: str) -> float:
    done = ship(name)
    if done.lost or done.doubled:
        raise RuntimeError(f"{name} lost {done.lost} and doubled {done.doubled} unprovoked")
    return RECORDS / done.seconds


CASES = {
    name: Case(f"{what}; with its start", lambda name=name: _speed(name))  # type: ignore[misc]  # bound now
    for name, (what, _) in CONTENDERS.items()
}
RATIOS = (
    Ratio("auditctl agent", "rsyslog", 1.5),
    Ratio("auditctl agent", "syslog-ng", None),
    Ratio("auditctl agent", "parallel_bulk", 2),
)
