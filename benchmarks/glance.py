"""Measure how long a person waits: for first answers, the state of many logs, the help."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from auditlog.format.record import GENESIS_HASH, format_timestamp, log_prefix, seal
from benchmarks.harness import Case, Ratio
from benchmarks.workload import write_log

TITLE = "At a glance: seconds until a command has answered"
UNIT = "s"
RECORDS = 360_000
LOGS, DAYS = 100, 90


@contextmanager
def setting() -> Iterator[Mapping[str, str]]:
    """A log of 250 MB, plain and compressed, and many logs of one record a day."""
    with tempfile.TemporaryDirectory() as place:
        segment = write_log(Path(place, "long"), RECORDS)
        packed = Path(place, "packed")
        packed.mkdir(mode=0o700)
        with (packed / f"{segment.name}.zst").open("wb") as file:
            subprocess.run(["zstd", "-q", "-3", "-c", segment], stdout=file, check=True)
        many = Path(place) / "many"
        many.mkdir(mode=0o700)
        now = dt.datetime.now(dt.UTC)
        for number in range(LOGS):
            _write(many, f"rbee-hive@gpu-{number}", now)
        yield {"BENCHMARK_LOG": place}


def _write(directory: Path, log: str, now: dt.datetime) -> None:
    digest = GENESIS_HASH
    for day in range(DAYS):
        at = now - dt.timedelta(days=DAYS - day)
        body = b'"event_type":"pool.drained","service":"rbee-hive","host":"gpu"'
        line, digest = seal(log_prefix(log), day + 1, digest, format_timestamp(at), body)
        (directory / f"{log}.{at:%Y-%m-%d}.0001.ndjson").write_bytes(line)


def _seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "auditctl", *arguments], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def _place(name: str) -> str:
    return f"{os.environ['BENCHMARK_LOG']}/{name}"


def _newest(name: str) -> float:
    return _seconds("search", "", _place(name), "--reverse", "--limit", "10")


def _python() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began


CASES = {
    "python -c pass": Case("an interpreter that does nothing", _python),
    "the help": Case("`auditctl --help` (aim: 0.15 s)", lambda: _seconds("--help")),
    "newest ten": Case(
        "`auditctl search '' DIR --reverse --limit 10` over 250 MB (aim: 0.2 s)",
        lambda: _newest("long"),
    ),
    "newest ten, .zst": Case(
        "the same where the newest segment is compressed, which retention never does",
        lambda: _newest("packed"),
    ),
    "status": Case(
        f"`auditctl status` of {LOGS} logs with {DAYS} segments each (aim: 0.5 s)",
        lambda: _seconds("status", _place("many")),
    ),
}
RATIOS = (Ratio("the help", "python -c pass", None), Ratio("newest ten", "the help", None))
