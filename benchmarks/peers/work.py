"""Run a contender on the same backlog, killing it as often as asked, and look at its target.

A run tells several figures, and each case is a process of its own: the first of them runs the
contender and notes what the others report.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import auditlog
from benchmarks.agent_process import cpu_seconds, peak_megabytes
from benchmarks.peers.contenders import Contender, Task

__all__ = ["Done", "Target", "noted", "records_of", "run", "setting"]

ROOT = Path(__file__).parents[2]
_PATIENCE_SECONDS = 600.0
_QUIET_SECONDS = 15.0


class Target(Protocol):
    """A place at ``url`` that has nothing yet; all that it gets has names that begin so."""

    url: str
    prefix: str

    def count(self) -> int:
        """Return how many documents it has taken."""

    def copies(self) -> Counter[int]:
        """Return how often it has each record of the backlog's log, by its number."""

    def forget(self) -> None:
        """Delete everything."""


def records_of(default: int) -> int:
    """Return how many records are shipped: so many, or AUDITLOG_TEST_PEER_RECORDS."""
    return int(os.environ.get("AUDITLOG_TEST_PEER_RECORDS", default))


@contextmanager
def setting(server: AbstractContextManager[Mapping[str, str]]) -> Iterator[Mapping[str, str]]:
    """The server with a backlog for it, and a place for what a run tells."""
    with server as environment, tempfile.TemporaryDirectory() as runs:
        yield {**environment, "BENCHMARK_RUNS": runs}


@dataclass(frozen=True, slots=True)
class Done:
    """How long it took from its start to the last document, and what the target has.

    ``cpu_seconds`` and ``peak_megabytes`` are those of the process that was started last.
    """

    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    lost: int
    doubled: int


def run(
    name: str,
    contender: Callable[[Task], Contender],
    target: Callable[[str], Target],
    kills: int = 0,
) -> Done:
    """Run a contender to a new target, and note what it did for the cases that follow."""
    done = _ship(contender, target(os.environ["BENCHMARK_URL"]), kills)
    Path(os.environ["BENCHMARK_RUNS"], name).write_text(json.dumps(asdict(done)))
    return done


def noted(name: str) -> Done:
    """Return what the last run of a contender did."""
    return Done(**json.loads(Path(os.environ["BENCHMARK_RUNS"], name).read_text()))


def _ship(contender: Callable[[Task], Contender], target: Target, kills: int) -> Done:
    """Ship everything of the backlog, with so many SIGKILLs spread over the work."""
    log = Path(os.environ["BENCHMARK_LOG"])
    seqs = {record.seq for record in auditlog.read(log, log_events=True)}
    with tempfile.TemporaryDirectory() as place:
        started = contender(Task(log, target.url, target.prefix, Path(place)))
        began = time.perf_counter()
        errors = Path(place, "stderr")
        process = _start(started, errors)
        try:
            for number in range(1, kills + 1):
                _wait(target, len(seqs) * number // (kills + 1), process, errors)
                process.kill()
                process.wait()
                process = _start(started, errors)
            # Duplicates count as well, so after kills only a pause shows that it is done.
            enough = None if kills else len(seqs)
            seconds = _wait(target, enough, process, errors) - began
            started.wait_until_done(len(seqs))
            used, peak = cpu_seconds(process.pid), peak_megabytes(process.pid)
        finally:
            process.kill()
            process.wait()
    try:
        _wait_until_settled(target)
        found = target.copies()
    finally:
        target.forget()
    lost, doubled = len(seqs - found.keys()), found.total() - len(found)
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
    target: Target, count: int | None, process: subprocess.Popen[bytes], errors: Path
) -> float:
    """When so many documents were there (None: all), or when nothing more came for a while."""
    have, changed = -1, time.perf_counter()
    deadline = changed + _PATIENCE_SECONDS
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            said = errors.read_text(errors="replace")[-2_000:]
            raise RuntimeError(f"it ended with exit code {process.returncode}:\n{said}")
        now = target.count()
        if now != have:
            have, changed = now, time.perf_counter()
        if count is not None and have >= count:
            return changed
        if have > 0 and time.perf_counter() - changed > _QUIET_SECONDS:
            return changed  # it is done; what is missing is lost
        time.sleep(0.2)
    raise RuntimeError(f"{have} of {count} documents after {_PATIENCE_SECONDS:.0f} s")


def _wait_until_settled(target: Target) -> None:
    """Return when nothing more comes: what was under way at a kill still does."""
    settled = -1
    while (now := target.count()) != settled:
        settled = now
        time.sleep(1.0)
