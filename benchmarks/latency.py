"""Measure how long one emit takes its caller, and how long a start takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import auditlog
from benchmarks.harness import Case, Ratio
from benchmarks.workload import events

TITLE = "Latency: microseconds"
UNIT = "us"
MANY = 50_000
FEW = 2_000
GIBIBYTE = 1 << 30


@contextmanager
def setting() -> Iterator[Mapping[str, str]]:
    """A log whose active segment has 1 GiB, for opening it."""
    with tempfile.TemporaryDirectory() as directory:
        with auditlog.open(
            directory,
            service="queen-rbee",
            host="hive1",
            flush="batched",
            max_segment_bytes=GIBIBYTE * 2,
        ) as log:
            pad = "x " * 29_000
            while log.stats().last_seq < GIBIBYTE // 58_500:
                log.emit("load.test", details={"pad": pad})
        yield {"BENCHMARK_GIBIBYTE": directory}


def _percentile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[int(len(seconds) * share)] * 1e6


def _emits(flush: Literal["immediate", "batched", "disabled"], count: int) -> list[float]:
    with (
        tempfile.TemporaryDirectory() as directory,
        auditlog.open(directory, service="queen-rbee", host="hive1", flush=flush) as log,
    ):
        seconds = []
        for event in events(count):
            began = time.perf_counter()
            log.emit(event)
            seconds.append(time.perf_counter() - began)
        return seconds[count // 10 :]


def _bare() -> list[float]:
    line = b"x" * 700 + b"\n"
    with tempfile.TemporaryDirectory() as directory:
        fd = os.open(Path(directory, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        seconds = []
        for _ in range(FEW):
            began = time.perf_counter()
            os.write(fd, line)
            os.fdatasync(fd)
            seconds.append(time.perf_counter() - began)
        os.close(fd)
    return seconds[FEW // 10 :]


def _over_bare(code: str) -> Callable[[], float]:
    """How much longer an interpreter takes that also runs the code; the two take turns."""

    def run() -> float:
        return _percentile([_python(code) - _python("pass") for _ in range(9)], 0.5)

    return run


def _python(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def _help() -> float:
    command = [sys.executable, "-m", "auditctl", "--help"]

    def once() -> float:
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    return _percentile([once() for _ in range(9)], 0.5)


def _open_gibibyte() -> float:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        log = auditlog.open(
            os.environ["BENCHMARK_GIBIBYTE"],
            service="queen-rbee",
            host="hive1",
            max_segment_bytes=GIBIBYTE * 2,
        )
        seconds.append(time.perf_counter() - began)
        log.close()
    return _percentile(seconds, 0.5)


CASES = {
    "batched p50": Case(
        "one emit, while commits run", lambda: _percentile(_emits("batched", MANY), 0.5)
    ),
    "batched p99": Case("as before", lambda: _percentile(_emits("batched", MANY), 0.99)),
    "disabled p50": Case("flush='disabled'", lambda: _percentile(_emits("disabled", MANY), 0.5)),
    "immediate p50": Case("one emit, durable", lambda: _percentile(_emits("immediate", FEW), 0.5)),
    "immediate p99": Case("as before", lambda: _percentile(_emits("immediate", FEW), 0.99)),
    "write+fdatasync p50": Case("700 bytes in a bare loop", lambda: _percentile(_bare(), 0.5)),
    "write+fdatasync p99": Case("as before", lambda: _percentile(_bare(), 0.99)),
    "open 1 GiB": Case(
        "a log whose active segment has 1 GiB, to its first records durable", _open_gibibyte
    ),
    "import auditlog": Case(
        "more than a bare interpreter takes; the aim is 40,000", _over_bare("import auditlog")
    ),
    "import, and its names": Case(
        "the same when the writer and the vocabulary are used at once",
        _over_bare("import auditlog; auditlog.open, auditlog.events"),
    ),
    "auditctl --help": Case("what a shell waits for it; the aim is 150,000", _help),
}
RATIOS = (
    Ratio("immediate p99", "write+fdatasync p99", 3, at_least=False),
    Ratio("immediate p50", "write+fdatasync p50", None),
)
