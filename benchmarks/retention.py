"""Compare compressing a segment, proofs included, with gzip; time days with nothing to do."""

from __future__ import annotations

import datetime as dt
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import auditlog
from auditlog.reading.inventory import scan
from auditlog.reading.reader import bounds
from benchmarks.agent_process import peak_megabytes
from benchmarks.harness import Case, Ratio
from benchmarks.workload import write_log
from retention.compress import compress
from retention.policy import RetentionPolicy
from retention.service import run_retention

TITLE = "retention: compressing a segment of 165 MiB, and a day with nothing to do"
UNIT = "as told"
RECORDS = 240_000
SEGMENTS = 1_000
PLANNED = 100_000
LOGS = 100


@contextmanager
def setting() -> Iterator[Mapping[str, str]]:
    """One large sealed segment, and directories of many small ones that are all too recent."""
    with tempfile.TemporaryDirectory() as place:
        large, many, planned = (Path(place, name) for name in ("large", "many", "planned"))
        for directory in (large, many, planned):
            directory.mkdir(mode=0o700)
        write_log(large, RECORDS)
        with auditlog.open(many, service="queen-rbee", host="hive1", flush="batched") as log:
            log.emit("pool.drained")
        whole = next(many.glob("queen-rbee*"))
        for host in range(SEGMENTS - 1):  # of logs of their own, whose names alone decide
            shutil.copy(whole, many / whole.name.replace("@hive1", f"@gpu-{host}"))
        _fill(planned, whole.read_bytes())
        yield {
            "BENCHMARK_LARGE": str(large),
            "BENCHMARK_MANY": str(many),
            "BENCHMARK_PLANNED": str(planned),
        }


def _fill(planned: Path, content: bytes) -> None:
    """PLANNED segments of LOGS logs, over 25 days: only their names are looked at."""
    today = dt.datetime.now(dt.UTC).date()
    for number in range(PLANNED // LOGS):
        day, part = today - dt.timedelta(days=number // 40), number % 40 + 1
        for host in range(LOGS):
            name = f"queen-rbee@gpu-{host}.{day}.{part:04}.ndjson"
            (planned / name).write_bytes(content)


@contextmanager
def _copied() -> Iterator[Path]:
    source = Path(os.environ["BENCHMARK_LARGE"])
    with tempfile.TemporaryDirectory(dir=source.parent) as place:
        segment = next(source.glob("*.ndjson"))
        yield Path(shutil.copy(segment, Path(place, segment.name)))


def _compressed(path: Path) -> None:
    file = next(iter(scan(path.parent).logs.values()))[0]
    ends = bounds(file)
    if ends is None:
        raise RuntimeError("the segment is empty")
    compress(file, ends, RetentionPolicy(), threading.Event())


def _compress() -> float:
    with _copied() as path:
        size = path.stat().st_size
        began = time.perf_counter()
        _compressed(path)
        return size / (time.perf_counter() - began) / 1e6


def _gzip() -> float:
    with _copied() as path:
        size = path.stat().st_size
        began = time.perf_counter()
        subprocess.run(["gzip", path], check=True)
        return size / (time.perf_counter() - began) / 1e6


def _size(packed: str) -> float:
    """Bytes of the plain segment for each of the compressed one."""
    with _copied() as path:
        size = path.stat().st_size
        if packed == ".gz":
            subprocess.run(["gzip", path], check=True)
        else:
            _compressed(path)
        return path.with_name(path.name + packed).stat().st_size / size * 100


def _resident() -> float:
    with _copied() as path:
        _compressed(path)
    return peak_megabytes(os.getpid())


def _idle(measure: Callable[[], float]) -> float:
    """Milliseconds of the whole command, as a person or a timer runs it."""
    command = [sys.executable, "-m", "auditctl", "prune", os.environ["BENCHMARK_MANY"]]
    began = measure()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken = measure() - began
    if f"{SEGMENTS} kept, 0 compressed, 0 deleted" not in done.stdout:
        raise RuntimeError("the run did something")
    return taken * 1e3


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _plan() -> float:
    """Milliseconds of CPU; the segments' content is not theirs, which says who reads it."""
    many = Path(os.environ["BENCHMARK_PLANNED"])
    began = time.process_time()
    result = run_retention(
        many, RetentionPolicy(), None, (), dt.datetime.now(dt.UTC), host="hive1", dry_run=True
    )
    taken = time.process_time() - began
    if len(result.steps) != PLANNED or result.totals["keep"] != PLANNED:
        raise RuntimeError("something was due")
    return taken * 1e3


def _plan_resident() -> float:
    _plan()
    return peak_megabytes(os.getpid())


_IDLE = f"`auditctl prune` over {SEGMENTS:,} segments, nothing due, with its start; ms"

CASES = {
    "gzip": Case("`gzip SEGMENT`, as the cron job does; MB/s", _gzip),
    "compress": Case("zstd; chain checked, synced, decompressed and compared; MB/s", _compress),
    "gzip size": Case("size left, percent", lambda: _size(".gz")),
    "compress size": Case("size left, percent", lambda: _size(".zst")),
    "compress resident": Case("peak of the process that compresses; MB", _resident),
    "idle": Case(_IDLE, lambda: _idle(time.perf_counter)),
    "idle CPU": Case(f"{_IDLE} of CPU", lambda: _idle(_of_children)),
    "plan CPU": Case(f"a dry run over {PLANNED:,} segments of {LOGS} logs; ms of CPU", _plan),
    "plan resident": Case("peak of the process that plans them; MB", _plan_resident),
}
RATIOS = (
    Ratio("compress", "gzip", 1.5),
    Ratio("compress size", "gzip size", 0.85, at_least=False),
)
