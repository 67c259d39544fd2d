"""Run a contender on the same backlog, killing it as often as asked, and look at the index."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import auditlog
from benchmarks.peers.contenders import CONTENDERS, Task
from shippers.sinks.elasticsearch.index_template import index_template
from tests.support.elasticsearch import Cluster, request

__all__ = ["RECORDS", "Done", "ship"]

ROOT = Path(__file__).parents[2]
RECORDS = int(os.environ.get("AUDITLOG_TEST_PEER_RECORDS", "150000"))
_PATIENCE_SECONDS = 600.0
_QUIET_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Done:
    """How long it took from its start to the last document, and what the index has."""

    seconds: float
    lost: int
    doubled: int


def ship(name: str, kills: int = 0) -> Done:
    """Everything ``backlog`` made, with so many SIGKILLs spread over the work."""
    cluster = Cluster(os.environ["BENCHMARK_URL"])
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    request(cluster.url, "PUT", f"/_index_template/{prefix}", index_template(prefix, replicas=0))
    log = Path(os.environ["BENCHMARK_LOG"])
    records = sum(1 for _ in auditlog.read(log, log_events=True))
    pattern = f"{prefix}-*"
    with tempfile.TemporaryDirectory() as place:
        contender = CONTENDERS[name][1](Task(log, cluster.url, prefix, Path(place)))
        began = time.perf_counter()
        process = _start(contender.command, contender.environment)
        try:
            for number in range(1, kills + 1):
                _wait(cluster, pattern, records * number // (kills + 1), process)
                process.kill()
                process.wait()
                process = _start(contender.command, contender.environment)
            # Duplicates count as well, so after kills only a pause shows that it is done.
            enough = None if kills else records
            seconds = _wait(cluster, pattern, enough, process) - began
        finally:
            process.kill()
            process.wait()
    try:
        lost, doubled = _compare(cluster, pattern, log)
    finally:
        cluster.forget(prefix)
    return Done(seconds, lost, doubled)


def _start(command: tuple[str, ...], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _wait(
    cluster: Cluster, pattern: str, count: int | None, process: subprocess.Popen[bytes]
) -> float:
    """When so many documents were there (None: all), or when nothing more came for a while."""
    have, changed = -1, time.perf_counter()
    deadline = changed + _PATIENCE_SECONDS
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with exit code {process.returncode}")
        now = cluster.count(pattern)
        if now != have:
            have, changed = now, time.perf_counter()
        if count is not None and have >= count:
            return changed
        if have > 0 and time.perf_counter() - changed > _QUIET_SECONDS:
            return changed  # it is done; what is missing is lost
        time.sleep(0.2)
    raise RuntimeError(f"{have} of {count} documents after {_PATIENCE_SECONDS:.0f} s")


def _compare(cluster: Cluster, pattern: str, log: Path) -> tuple[int, int]:
    """How many records the index lacks, and how many documents it has too many."""
    settled = -1
    while (now := cluster.count(pattern)) != settled:  # what was under way at a kill still comes
        settled = now
        time.sleep(1.0)
    found: Counter[int] = Counter()
    query: dict[str, Any] = {"size": 10_000, "sort": ["seq", "_doc"], "_source": ["seq"]}
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
