"""Retention: compressing a segment with every proof, against the gzip of the cron job."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import auditlog
from auditlog.inventory import scan
from auditlog.reader import bounds
from benchmarks.harness import Case, Ratio
from benchmarks.workload import events
from retention.compress import compress
from retention.policy import Policy
from retention.service import run_retention

TITLE = "retention: compressing a segment of 128 MiB, and a day with nothing to do"
UNIT = "MB/s, or runs a second"
RECORDS = 240_000
SEGMENTS = 1_000


@contextmanager
def setting() -> Iterator[Mapping[str, str]]:
    """One large sealed segment, and a directory of SEGMENTS small ones that are all too recent."""
    with tempfile.TemporaryDirectory() as place:
        large, many = Path(place, "large"), Path(place, "many")
        large.mkdir(mode=0o700)
        many.mkdir(mode=0o700)
        with auditlog.open(
            large, service="queen-rbee", host="hive1", flush="batched", max_segment_bytes=4 << 30
        ) as log:
            for event in events(RECORDS):
                log.emit(event)
        with auditlog.open(many, service="queen-rbee", host="hive1", flush="batched") as log:
            log.emit("pool.drained")
        whole = next(many.glob("queen-rbee*"))
        for host in range(SEGMENTS - 1):  # of logs of their own, whose names alone decide
            shutil.copy(whole, many / whole.name.replace("@hive1", f"@gpu-{host}"))
        yield {"BENCHMARK_LARGE": str(large), "BENCHMARK_MANY": str(many)}


@contextmanager
def _copied() -> Iterator[Path]:
    source = Path(os.environ["BENCHMARK_LARGE"])
    with tempfile.TemporaryDirectory(dir=source.parent) as place:
        segment = next(source.glob("*.ndjson"))
        yield Path(shutil.copy(segment, Path(place, segment.name)))


def _compress() -> float:
    with _copied() as path:
        size = path.stat().st_size
        file = next(iter(scan(path.parent).logs.values()))[0]
        ends = bounds(file)
        if ends is None:
            raise RuntimeError("the segment is empty")
        began = time.perf_counter()
        compress(file, ends, Policy(), threading.Event())
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
            file = next(iter(scan(path.parent).logs.values()))[0]
            ends = bounds(file)
            if ends is None:
                raise RuntimeError("the segment is empty")
            compress(file, ends, Policy(), threading.Event())
        return path.with_name(path.name + packed).stat().st_size / size * 100


def _idle() -> float:
    many = Path(os.environ["BENCHMARK_MANY"])
    began = time.perf_counter()
    result = run_retention(many, Policy(), None, (), dt.datetime.now(dt.UTC), host="hive1")
    seconds = time.perf_counter() - began
    if not result.ok or result.totals["keep"] != SEGMENTS:
        raise RuntimeError("the run did something")
    return 1 / seconds


CASES = {
    "gzip": Case("`gzip SEGMENT`, as the cron job does; MB/s", _gzip),
    "compress": Case("zstd; chain checked, synced, decompressed and compared; MB/s", _compress),
    "gzip size": Case("size left, percent", lambda: _size(".gz")),
    "compress size": Case("size left, percent", lambda: _size(".zst")),
    "idle": Case(f"`auditctl prune` over {SEGMENTS:,} segments, nothing due; runs/s", _idle),
}
RATIOS = (
    Ratio("compress", "gzip", 1.5),
    Ratio("compress size", "gzip size", 0.85, at_least=False),
)
