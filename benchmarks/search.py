"""Compare search over files with grep, zstdcat and zcat in pipes, and jq."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import auditlog
from benchmarks.harness import Case, Ratio
from benchmarks.workload import events

TITLE = "Search: a value that is in one record of a gibibyte"
UNIT = "MB/s"
BYTES = int(os.environ.get("BENCHMARK_SEARCH_BYTES", str(1 << 30)))
MAX_MEMORY_BYTES = 150 << 20  # of a search, whatever the size of what it reads
RARE = "task-77777-of-the-incident"


@contextmanager
def setting() -> Iterator[Mapping[str, str]]:
    """One log of BYTES, the wanted record in its middle, in all three forms."""
    with tempfile.TemporaryDirectory() as place:
        plain = Path(place) / "plain"
        with auditlog.open(
            plain, service="queen-rbee", host="hive1", flush="batched", max_segment_bytes=8 << 30
        ) as log:
            half = BYTES // 2 // 700
            for number, event in enumerate(events(2 * half)):
                if number == half:
                    log.emit("incident.found", details={"task": RARE})
                log.emit(event)
        (segment,) = plain.glob("*.ndjson")
        for form, command in (("zst", ["zstd", "-q", "-3"]), ("gz", ["gzip", "-1"])):
            packed = Path(place) / form
            packed.mkdir(mode=0o700)
            with (packed / f"{segment.name}.{form}").open("wb") as file:
                subprocess.run([*command, "-c", segment], stdout=file, check=True)
        yield {"BENCHMARK_LOG": place}


def _size() -> int:
    (segment,) = (Path(os.environ["BENCHMARK_LOG"]) / "plain").glob("*.ndjson")
    return segment.stat().st_size


def _speed(command: list[str] | str) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, shell=isinstance(command, str), check=True, capture_output=True)
    seconds = time.perf_counter() - began
    if done.stdout.count(b"\n") != 1 or RARE.encode() not in done.stdout:
        raise RuntimeError("it found something else")
    return _size() / seconds / 1e6


def _grep() -> float:
    return _speed(f"grep -hF {RARE} {os.environ['BENCHMARK_LOG']}/plain/*.ndjson")


def _zstdcat() -> float:
    return _speed(f"zstdcat {os.environ['BENCHMARK_LOG']}/zst/*.zst | grep -F {RARE}")


def _zcat_jq() -> float:
    wanted = f'select(.details.task == "{RARE}")'
    return _speed(f"zcat {os.environ['BENCHMARK_LOG']}/gz/*.gz | jq -c '{wanted}'")


def _search(form: str) -> float:
    place = f"{os.environ['BENCHMARK_LOG']}/{form}"
    query = f"details.task={RARE}"
    speed = _speed([sys.executable, "-m", "auditctl", "search", query, place, "--json"])
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
    if most > MAX_MEMORY_BYTES:
        raise RuntimeError(f"it took {most >> 20} MiB of memory")
    return speed


CASES = {
    "grep -F": Case("`grep -F VALUE *.ndjson`", _grep),
    "search, plain": Case(
        "`auditctl search details.task=VALUE`, start-up included, in less than 150 MiB of memory",
        lambda: _search("plain"),
    ),
    "zstdcat, grep -F": Case(
        "`zstdcat *.zst \\| grep -F VALUE`: the same bytes, compressed by `zstd -3`", _zstdcat
    ),
    "search, .zst": Case("as above, over the .zst segment", lambda: _search("zst")),
    "zcat, jq": Case(
        "`zcat *.gz \\| jq -c 'select(.details.task == VALUE)'`, compressed by `gzip -1`", _zcat_jq
    ),
    "search, .gz": Case("as above, over the .gz segment", lambda: _search("gz")),
}
RATIOS = (
    Ratio("search, plain", "grep -F", 0.5),
    Ratio("search, .zst", "zstdcat, grep -F", 0.8),
    Ratio("search, .gz", "zcat, jq", 5.0),
)
