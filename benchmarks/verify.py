"""Compare verify with plain SHA-256 over the same bytes: the cost beyond hashing."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import auditlog
from benchmarks.harness import Case, Ratio
from benchmarks.workload import write_log

TITLE = "verify: reading a log back against hashing its bytes"
UNIT = "MB/s"
RECORDS = 400_000


@contextmanager
def setting() -> Iterator[Mapping[str, str]]:
    """One log of RECORDS records in one segment."""
    with tempfile.TemporaryDirectory() as directory:
        write_log(Path(directory), RECORDS)
        yield {"BENCHMARK_LOG": directory}


def _segment() -> Path:
    return next(Path(os.environ["BENCHMARK_LOG"]).glob("*.ndjson"))


def _verify(jobs: int) -> float:
    size = _segment().stat().st_size
    began = time.perf_counter()
    report = auditlog.verify(os.environ["BENCHMARK_LOG"], jobs=jobs)
    seconds = time.perf_counter() - began
    if not report.ok or report.logs[0].records < RECORDS:
        raise RuntimeError("the log does not verify")
    return size / seconds / 1e6


def _sha256sum() -> float:
    size = _segment().stat().st_size
    began = time.perf_counter()
    subprocess.run(["sha256sum", _segment()], check=True, capture_output=True)
    return size / (time.perf_counter() - began) / 1e6


CASES = {
    "sha256sum": Case("coreutils' `sha256sum SEGMENT`", _sha256sum),
    "verify": Case(
        "`auditlog.verify(DIR)`: every hash, every link, one process", lambda: _verify(1)
    ),
    "verify, 2 jobs": Case("the same by two processes", lambda: _verify(2)),
}
RATIOS = (Ratio("verify", "sha256sum", 0.4), Ratio("verify, 2 jobs", "sha256sum", 0.7))
