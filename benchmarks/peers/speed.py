"""Ship a backlog with each program: time to the last document, CPU time a record, peak memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from benchmarks.backlog import backlog
from benchmarks.harness import Case, Ratio
from benchmarks.peers import work
from benchmarks.peers.contenders import CONTENDERS
from benchmarks.peers.index import Indices

RECORDS = work.records_of(300_000)
TITLE = f"Peers: a backlog of {RECORDS:,} records into Elasticsearch 9.5.0 on the same machine"
UNIT = "records/s, us or MB"


def setting() -> AbstractContextManager[Mapping[str, str]]:
    return work.setting(backlog(RECORDS))


def _speed(name: str) -> float:
    done = work.run(name, CONTENDERS[name][1], Indices)
    if done.lost or done.doubled:
        raise RuntimeError(f"{name} lost {done.lost} and doubled {done.doubled} unprovoked")
    return RECORDS / done.seconds


_FIGURES: Mapping[str, tuple[str, Callable[[str], float]]] = {
    "": ("records/s; {}; with its start", _speed),
    ", CPU": (
        "us a record of that process, with its start",
        lambda name: work.noted(name).cpu_seconds / RECORDS * 1e6,
    ),
    ", peak": ("MB at its largest", lambda name: work.noted(name).peak_megabytes),
}
CASES = {
    f"{name}{figure}": Case(text.format(what), lambda name=name, of=of: of(name))  # type: ignore[misc]  # bound now
    for name, (what, _) in CONTENDERS.items()
    for figure, (text, of) in _FIGURES.items()
}
RATIOS = (
    Ratio("auditctl agent", "rsyslog", 1.5),
    Ratio("auditctl agent", "syslog-ng", 1),
    Ratio("auditctl agent", "parallel_bulk", 2),
    Ratio("auditctl agent, signing", "syslog-ng", 1),
    Ratio("auditctl agent, signing, CPU", "syslog-ng, CPU", None, at_least=False),
)
