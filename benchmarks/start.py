"""Measure how soon the agent ships after a start, and its cost while there is nothing to do."""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import auditlog
from auditlog.format.record import GENESIS_HASH, log_prefix, seal
from benchmarks.agent_process import AgentProcess
from benchmarks.backlog import indexed, server
from benchmarks.harness import Case, Ratio
from tests.support.elasticsearch import Cluster

TITLE = "Start: the agent's process until it ships, and while it idles"
UNIT = "s, MB or %"
LOGS: Final = 50
SEGMENTS: Final = 5_000
GIBIBYTE: Final = 1 << 30
_PAD: Final = "x " * 10_000
_RECORD_BYTES: Final = 20_500
_IDLE_SECONDS: Final = 20.0
_PATIENCE_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.005


@contextmanager
def setting() -> Iterator[Mapping[str, str]]:
    """A server; many logs, a log of many segments, and one whose active segment has 1 GiB."""
    with server() as url, tempfile.TemporaryDirectory() as place:
        for number in range(LOGS):
            with auditlog.open(f"{place}/logs", service="rbee-hive", host=f"gpu-{number}") as log:
                log.emit("pool.drained")
        segments = Path(place, "segments")
        segments.mkdir(mode=0o700)
        _write_segments(segments)
        with auditlog.open(
            f"{place}/gibibyte",
            service="queen-rbee",
            host="h",
            flush="batched",
            max_segment_bytes=2 * GIBIBYTE,
        ) as log:
            for _ in range(GIBIBYTE // _RECORD_BYTES):
                log.emit("load.test", details={"pad": _PAD})
        yield {"BENCHMARK_PLACE": place, "BENCHMARK_URL": url}


def _write_segments(directory: Path) -> None:
    digest = GENESIS_HASH
    body = b'"event_type":"pool.drained","service":"rbee-hive","host":"gpu"'
    for seq in range(1, SEGMENTS + 1):
        at = "2026-11-23T07:12:00.000000Z"
        line, digest = seal(log_prefix("rbee-hive@gpu"), seq, digest, at, body)
        (directory / f"rbee-hive@gpu.2026-11-23.{seq:04d}.ndjson").write_bytes(line)


def _with_agent(name: str, figure: Callable[[AgentProcess, Callable[[], int]], float]) -> float:
    """Return ``figure`` of an agent on these logs; it is also given the counter of documents."""
    cluster = Cluster(os.environ["BENCHMARK_URL"])
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    log = Path(os.environ["BENCHMARK_PLACE"], name)
    try:
        with tempfile.TemporaryDirectory() as place:
            agent = AgentProcess(log, cluster.url, prefix, Path(place))
            try:
                return figure(agent, lambda: indexed(cluster.url, f"{prefix}-*"))
            finally:
                agent.kill()
    finally:
        cluster.forget(prefix)


def _wait_for(count: Callable[[], int], more_than: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while count() <= more_than:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no more than {count()} documents came")
        time.sleep(_POLL_SECONDS)


def _idle(agent: AgentProcess, count: Callable[[], int]) -> float:
    """The share of one core in percent, when everything is shipped."""
    agent.start()
    _wait_for(count, LOGS - 1)
    time.sleep(2)  # the last cursors
    before = agent.cpu_seconds()
    time.sleep(_IDLE_SECONDS)
    return (agent.cpu_seconds() - before) / _IDLE_SECONDS * 100


def _first(agent: AgentProcess, count: Callable[[], int]) -> float:
    began = time.perf_counter()
    agent.start()
    _wait_for(count, 0)
    return time.perf_counter() - began


def _kill_half_way(agent: AgentProcess, count: Callable[[], int]) -> int:
    agent.start()
    _wait_for(count, GIBIBYTE // _RECORD_BYTES // 2)
    agent.kill()
    have = -1
    while (now := count()) != have:  # what was under way is still taken
        have = now
        time.sleep(1)
    return have


def _again(agent: AgentProcess, count: Callable[[], int]) -> float:
    have = _kill_half_way(agent, count)
    began = time.perf_counter()
    agent.start()
    _wait_for(count, have)
    return time.perf_counter() - began


def _read_again(agent: AgentProcess, count: Callable[[], int]) -> float:
    have = _kill_half_way(agent, count)
    agent.start()
    _wait_for(count, have)
    return agent.read_bytes() / 1e6


CASES = {
    f"idle, {LOGS} logs": Case(
        f"% of a core over {_IDLE_SECONDS:.0f} s (aim: 0.5)", lambda: _with_agent("logs", _idle)
    ),
    f"start, {LOGS} logs": Case(
        "s from the start of the process to the first document", lambda: _with_agent("logs", _first)
    ),
    f"start, {SEGMENTS:,} segments": Case(
        "s as before (aim: 1)", lambda: _with_agent("segments", _first)
    ),
    "restart in 1 GiB": Case(
        "s from its start after a SIGKILL half way to the first new document (aim: 1)",
        lambda: _with_agent("gibibyte", _again),
    ),
    "read by then": Case(
        "MB that its reads returned, the interpreter's own included",
        lambda: _with_agent("gibibyte", _read_again),
    ),
}
RATIOS: tuple[Ratio, ...] = ()
