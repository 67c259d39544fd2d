"""Run a contender on the same backlog, killing it as often as asked, and look at the index.

A run tells several figures, and each case is a process of its own: the first of them runs the
contender and notes what the others report.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import auditlog
from benchmarks.agent_process import cpu_seconds, peak_megabytes
from benchmarks.backlog import backlog, indexed
from benchmarks.peers.contenders import CONTENDERS, Contender, Task
from shippers.sinks.elasticsearch.index_template import index_template
from tests.support.elasticsearch import Cluster, request

__all__ = ["Done", "noted", "records_of", "run", "setting"]

ROOT = Path(__file__).parents[2]
_PATIENCE_SECONDS = 600.0
_QUIET_SECONDS = 15.0
_OURS = {"term": {"log": "queen-rbee@h"}}


def records_of(default: int) -> int:
    """Return how many records are shipped: so many, or AUDITLOG_TEST_PEER_RECORDS."""
    return int(os.environ.get("AUDITLOG_TEST_PEER_RECORDS", default))


@contextmanager
def setting(records: int) -> Iterator[Mapping[str, str]]:
    """The server, the backlog, and a place for what a run tells."""
    with backlog(records) as environment, tempfile.TemporaryDirectory() as runs:
        yield {**environment, "BENCHMARK_RUNS": runs}


@dataclass(frozen=True, slots=True)
class Done:
    """How long it took from its start to the last document, and what the index has.

    ``cpu_seconds`` and ``peak_megabytes`` are those of the process that was started last.
    """

    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    lost: int
    doubled: int


def run(name: str, kills: int = 0) -> Done:
    """Run a contender, and note what it did for the cases that follow."""
    done = _ship(name, kills)
    Path(os.environ["BENCHMARK_RUNS"], name).write_text(json.dumps(asdict(done)))
    return done


def noted(name: str) -> Done:
    """Return what the last run of a contender did."""
    return Done(**json.loads(Path(os.environ["BENCHMARK_RUNS"], name).read_text()))


def _ship(name: str, kills: int) -> Done:
    """Ship everything ``backlog`` made, with so many SIGKILLs spread over the work."""
    cluster = Cluster(os.environ["BENCHMARK_URL"])
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    request(cluster.url, "PUT", f"/_index_template/{prefix}", index_template(prefix, replicas=0))
    log = Path(os.environ["BENCHMARK_LOG"])
    records = sum(1 for _ in auditlog.read(log, log_events=True))
    pattern = f"{prefix}-*"
    with tempfile.TemporaryDirectory() as place:
        contender = CONTENDERS[name][1](Task(log, cluster.url, prefix, Path(place)))
        began = time.perf_counter()
        errors = Path(place, "stderr")
        process = _start(contender, errors)
        try:
            for number in range(1, kills + 1):
                _wait(cluster, pattern, records * number // (kills + 1), process, errors)
                process.kill()
                process.wait()
                process = _start(contender, errors)
            # Duplicates count as well, so after kills only a pause shows that it is done.
            enough = None if kills else records
            seconds = _wait(cluster, pattern, enough, process, errors) - began
            contender.wait_until_done(records)
            used, peak = cpu_seconds(process.pid), peak_megabytes(process.pid)
        finally:
            process.kill()
            process.wait()
    try:
        lost, doubled = _compare(cluster, pattern, log)
    finally:
        cluster.forget(prefix)
    return Done(seconds, used, peak, lost, doubled)


def _start(contender: Contender, errors: Path) -> subprocess.Popen[bytes]:
    """Start a contender; what it says of errors replaces what the run before it said."""
    with errors.open("wb") as file:
        return subprocess.Popen(
            contender.command,
            cwd=ROOT,
            env=contender.environment,
            stdout=subprocess.DEVNULL,
            stderr=file,
        )


def _wait(
    cluster: Cluster,
    pattern: str,
    count: int | None,
    process: subprocess.Popen[bytes],
    errors: Path,
) -> float:
    """When so many documents were there (None: all), or when nothing more came for a while.

    The server is not asked to refresh: many small segments would slow down whoever has ids of its
    own, which are looked up in each of them.
    """
    have, changed = -1, time.perf_counter()
    deadline = changed + _PATIENCE_SECONDS
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            said = errors.read_text(errors="replace")[-2_000:]
            raise RuntimeError(f"it ended with exit code {process.returncode}:\n{said}")
        now = indexed(cluster.url, pattern)
        if now != have:
            have, changed = now, time.perf_counter()
        if count is not None and have >= count:
            return changed
        if have > 0 and time.perf_counter() - changed > _QUIET_SECONDS:
            return changed  # it is done; what is missing is lost
        time.sleep(0.2)
    raise RuntimeError(f"{have} of {count} documents after {_PATIENCE_SECONDS:.0f} s")


def _count(cluster: Cluster, pattern: str) -> int:
    """How many documents there are of the backlog's log; an agent that signs has another."""
    request(cluster.url, "POST", f"/{pattern}/_refresh")
    status, answer = request(cluster.url, "POST", f"/{pattern}/_count", {"query": _OURS})
    return int(answer["count"]) if status == 200 else 0


def _compare(cluster: Cluster, pattern: str, log: Path) -> tuple[int, int]:
    """How many records the index lacks, and how many documents it has too many."""
    settled = -1
    while (now := _count(cluster, pattern)) != settled:  # what was under way at a kill still comes
        settled = now
        time.sleep(1.0)
    found: Counter[int] = Counter()
    query: dict[str, Any] = {"size": 10_000, "query": _OURS, "_source": ["seq"]}
    status, answer = request(cluster.url, "POST", f"/{pattern}/_pit?keep_alive=5m")
    if status != 200:
        raise RuntimeError(f"no point in time: {status}")
    query["pit"] = {"id": answer["id"], "keep_alive": "5m"}
    query["sort"] = ["seq", "_shard_doc"]
    while True:
        _, answer = request(cluster.url, "POST", "/_search?filter_path=hits.hits,pit_id", query)
        hits = answer.get("hits", {}).get("hits", [])
        if not hits:
            break
        found.update(hit["_source"]["seq"] for hit in hits)
        query["search_after"] = hits[-1]["sort"]
    seqs = {record.seq for record in auditlog.read(log, log_events=True)}
    return len(seqs - found.keys()), sum(found.values()) - len(found)
