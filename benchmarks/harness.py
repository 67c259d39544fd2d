"""Run contenders in turn, in processes of their own, and compare medians.

A benchmark is a module with ``TITLE``, ``UNIT``, ``CASES`` (name -> Case) and ``RATIOS``; a case's
function does the work once and returns its figure.  The contenders take turns (A B C A B C …), so
that a machine that drifts drifts for all, and a ratio is the median of the ratios of each turn.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from benchmarks.workload import VARIABLE

RESULTS = Path(__file__).parent / "results"

NAMES = (
    *("writer", "latency", "shipper", "cost", "live", "requests", "start"),
    *("verify", "evidence", "retention", "archive", "search", "glance"),
    *("indices", "capacity"),
)
_PACKAGES = ("auditlog", "auditctl", "retention", "shippers")
PEERS = ("peers.speed", "peers.faults", "peers.kafka")
"""Run only when named: they fetch programs of others."""


@dataclass(frozen=True, slots=True)
class Case:
    """``run`` does the work once and returns the figure; ``what`` tells readers what it does."""

    what: str
    run: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Ratio:
    """``of`` over ``to``; ``target`` is what the project aims at (None: only to be known)."""

    of: str
    to: str
    target: float | None
    at_least: bool = True


class Benchmark(Protocol):
    """Interface of a benchmark module; ``setting`` starts what all cases share, as environment.

    It may have ``NOTES`` too, which stand below its tables.
    """

    TITLE: str
    UNIT: str
    CASES: Mapping[str, Case]
    RATIOS: tuple[Ratio, ...]

    def setting(self) -> AbstractContextManager[Mapping[str, str]]: ...


BY_WORKLOAD = ("shipper", "cost", "capacity", "archive", "peers.speed")
"""Those that can be run with either workload."""


def load(name: str) -> Benchmark:
    return cast("Benchmark", importlib.import_module(f"benchmarks.{name}"))


def run(
    name: str, rounds: int, progress: Callable[[str], None], workload: str = "even"
) -> dict[str, Any]:
    """Run one benchmark and return the result that is stored and shown.

    That of another workload than the even one is a result of its own.
    """
    os.environ[VARIABLE] = workload
    even = workload == "even"
    benchmark = load(name)
    load_average = os.getloadavg()[1]
    samples: dict[str, list[float]] = {case: [] for case in benchmark.CASES}
    # As installed: where the environment keeps no bytecode, every case would compile the sources.
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", *_PACKAGES], cwd=RESULTS.parents[1], check=True
    )
    with benchmark.setting() as environment:
        for turn in range(rounds):
            for case in benchmark.CASES:
                figure = _run_case(name, case, environment)
                samples[case].append(figure)
                progress(f"{name} {turn + 1}/{rounds} {case}: {figure:,.1f} {benchmark.UNIT}")
    return {
        "name": name if even else f"{name}.{workload}",
        "title": benchmark.TITLE if even else f"{benchmark.TITLE}, records with {workload}",
        "unit": benchmark.UNIT,
        "command": f"python -m benchmarks {name} --rounds {rounds}"
        + ("" if even else f" --workload {workload}"),
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "machine": f"{_machine()}, load average before {load_average:.1f}",
        "notes": getattr(benchmark, "NOTES", ""),
        "cases": {
            case: {"what": benchmark.CASES[case].what, **_spread(figures), "samples": figures}
            for case, figures in samples.items()
        },
        "ratios": [_compare(ratio, samples) for ratio in benchmark.RATIOS],
    }


def _run_case(name: str, case: str, environment: Mapping[str, str]) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--case", name, case],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name} {case} failed:\n{done.stderr}")
    return float(done.stdout.strip().splitlines()[-1])


def _spread(figures: list[float]) -> dict[str, float]:
    return {"min": min(figures), "median": statistics.median(figures), "max": max(figures)}


def _compare(ratio: Ratio, samples: Mapping[str, list[float]]) -> dict[str, Any]:
    pairs = [a / b for a, b in zip(samples[ratio.of], samples[ratio.to], strict=True)]
    value = statistics.median(pairs)
    if ratio.target is None:
        met = None
    else:
        met = value >= ratio.target if ratio.at_least else value <= ratio.target
    return {
        "of": ratio.of,
        "to": ratio.to,
        **_spread(pairs),
        "target": ratio.target,
        "at_least": ratio.at_least,
        "met": met,
    }


def _machine() -> str:
    model = platform.machine()
    for line in _lines_of(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return (
        f"{os.cpu_count()} cores of {model}, {memory} GiB,"
        f" Linux {platform.release().split('-')[0]},"
        f" Python {platform.python_version()}"
    )


def _lines_of(path: Path) -> Iterator[str]:
    if path.exists():
        yield from path.read_text("utf-8").splitlines()


def store(result: Mapping[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result['name']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return path
