"""Send a backlog to Kafka with the OpenTelemetry Collector, killed three times and not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.harness import Case, Ratio
from benchmarks.peers import work
from benchmarks.peers.broker import VERSION, Topic, broker
from benchmarks.peers.collector import OVER_KAFKA
from benchmarks.workload import write_log

KILLS = 3
RECORDS = work.records_of(300_000)
TITLE = (
    f"Peers over Kafka {VERSION}: a backlog of {RECORDS:,} records to a broker on the same machine"
)
UNIT = "records/s, us, MB or records"


def setting() -> AbstractContextManager[Mapping[str, str]]:
    return work.setting(_backlog())


@contextmanager
def _backlog() -> Iterator[Mapping[str, str]]:
    with broker() as address, tempfile.TemporaryDirectory() as directory:
        write_log(Path(directory), RECORDS, host="h")
        yield {"BENCHMARK_LOG": directory, "BENCHMARK_URL": address}


def _speed(name: str) -> float:
    return RECORDS / work.run(name, OVER_KAFKA[name][1], Topic).seconds


def _lost_after_kills(name: str) -> float:
    return float(work.run(name, OVER_KAFKA[name][1], Topic, KILLS).lost)


_FIGURES: Mapping[str, tuple[str, Callable[[str], float]]] = {
    "": ("records/s; {}; with its start", _speed),
    ", CPU": (
        "us a record of that process, with its start",
        lambda name: work.noted(name).cpu_seconds / RECORDS * 1e6,
    ),
    ", peak": ("MB at its largest", lambda name: work.noted(name).peak_megabytes),
    ": lost": ("records missing from the topic", lambda name: work.noted(name).lost),
    ": doubled": ("messages of a record beyond its first", lambda name: work.noted(name).doubled),
    ", killed: lost": (f"as before, after {KILLS} x SIGKILL on the way", _lost_after_kills),
    ", killed: doubled": ("as before", lambda name: work.noted(name).doubled),
}
CASES = {
    f"{name}{figure}": Case(text.format(what), lambda name=name, of=of: float(of(name)))  # type: ignore[misc]  # bound now
    for name, (what, _) in OVER_KAFKA.items()
    for figure, (text, of) in _FIGURES.items()
}
RATIOS: tuple[Ratio, ...] = ()
NOTES = """\
A kill before the end of the file has the Collector send it again from its beginning, whatever of it
Kafka has already; 225,000 copies are what three such restarts make. At the end of the file it keeps
its place, and a kill then loses what its queue holds in memory: of 30,000 records, all of which the
queue takes at once, 21,933 were lost and none doubled in one run with
`AUDITLOG_TEST_PEER_RECORDS=30000`, while with its queue on disk none were lost and 40,561 copies
too many arrived. What reads the topic into an index is not measured.
"""
