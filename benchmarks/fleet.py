"""Calculate what a fleet needs from the stored results: the figures of docs/capacity.md.

    python -m benchmarks.fleet                                        the fleet of that page
    python -m benchmarks.fleet --hosts 300 --rate 20 --price-tb-month 20

Every measured figure is the median of a case in benchmarks/results, and a ? stands for what was not
measured yet; everything else is an assumption of `Fleet`, which the options change.
`make bench` writes the tables anew, and the number of buckets in the setting below them.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import RESULTS
from benchmarks.workload import WORKLOADS

__all__ = [
    "PAGE",
    "Fleet",
    "Measured",
    "fleet_table",
    "measured_table",
    "rewritten",
    "stored_result",
    "write_page",
]

PAGE: Final = Path(__file__).parent.parent / "docs" / "capacity.md"
RATES: Final = (50, 200)

_DAY: Final = 86_400
_SHARD_BYTES: Final = 50e9  # what Elasticsearch recommends at most
_SHARDS_A_NODE: Final = 1_000  # cluster.max_shards_per_node
_SEGMENT_BYTES: Final = 256 << 20  # max_segment_bytes
_UNITS: Final = (("PB", 1e15), ("TB", 1e12), ("GB", 1e9))
_UNKNOWN: Final = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The assumptions."""

    hosts: int = 10_000
    rate: float = 50  # events a second of each host
    logs: int = 3  # of a host: that of a service, of the agent, of the archive
    linger: float = 5.0  # seconds
    index_days: int = 30
    archive_days: int = 365
    segments_a_day: int = 24  # of a log, at least: with max_segment_age=3600
    price_tb_month: float = 0.0
    price_1000_puts: float = 0.0


@dataclass(frozen=True, slots=True)
class Input:
    """A measured figure: a case of a result, of both workloads where the benchmark has them."""

    meaning: str
    benchmark: str
    case: str
    both: bool = True

    def value(self, workload: str) -> float:
        """The median; not a number where it was not measured."""
        even = workload == "even" or not self.both
        result = stored_result(self.benchmark if even else f"{self.benchmark}.{workload}")
        return float(result.get("cases", {}).get(self.case, {}).get("median", math.nan))

    @property
    def source(self) -> str:
        return f"`{self.benchmark}`: {self.case}"


@cache
def stored_result(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


INPUTS: Final[Mapping[str, Input]] = {
    "file_bytes": Input("a record in its file, B", "capacity", "file"),
    "packed_bytes": Input(
        "the same in a segment that retention compressed, B", "capacity", "compressed"
    ),
    "index_bytes": Input("the same in the index, one copy, B", "capacity", "index"),
    "best_bytes": Input(
        "the same with `index.codec: best_compression`, B", "capacity", "index, best_compression"
    ),
    "other_ids_bytes": Input(
        "the same with ids made by Elasticsearch, B", "capacity", "index, other ids"
    ),
    "archive_bytes": Input("the same in the archive, B", "archive", "bytes"),
    "server_speed": Input(
        "records a second into two shared cores, by the agent", "shipper", "shipper"
    ),
    "bulk_2000": Input(
        "records a second of one connection, bulks of 2,000", "capacity", "bulks of 2,000"
    ),
    "bulk_250": Input("the same, bulks of 250", "capacity", "bulks of 250"),
    "bulk_25": Input("the same, bulks of 25", "capacity", "bulks of 25"),
    "bulk_5": Input("the same, bulks of 5", "capacity", "bulks of 5"),
    "bulk_other_ids": Input(
        "the same, bulks of 2,000 with ids made by Elasticsearch",
        "capacity",
        "bulks of 2,000, other ids",
    ),
    "agent_us": Input("CPU time of the agent for a record, µs", "cost", "CPU, agent"),
    "signing_us": Input("the same of an agent that signs, µs", "cost", "CPU, agent, signing"),
    "agent_mb": Input("its memory with a backlog, MB", "cost", "peak MB, agent, signing"),
    "archive_us": Input("CPU time of archiving a record, µs", "archive", "archive"),
    "requests_50": Input(
        "bulks a second of one agent at 50 records/s", "requests", "bulk requests, 50/s", both=False
    ),
    "requests_200": Input(
        "the same at 200 records/s", "requests", "bulk requests, 200/s", both=False
    ),
    "cpu_50": Input(
        "agent at 50 records/s, % of a core", "requests", "agent CPU, 50/s", both=False
    ),
    "cpu_200": Input("the same at 200 records/s", "requests", "agent CPU, 200/s", both=False),
    "idle_cpu": Input("server without work, % of a core", "capacity", "idle server", both=False),
    "connections_cpu": Input(
        "the same with 8,000 idle connections", "capacity", "idle connections", both=False
    ),
    "connections_mb": Input(
        "memory of 8,000 connections, MB", "capacity", "memory of connections", both=False
    ),
    "restore_speed": Input("restored from the archive, records/s", "archive", "restore"),
    "verify_speed": Input("verified in the archive, records/s", "archive", "verify"),
    "search_speed": Input("searched in the archive, records/s", "archive", "search"),
    "search_seconds": Input(
        "a search over 60 daily indices on two cores, s", "indices", "60 days", both=False
    ),
    "midnight": Input(
        "the first bulk of a day into 280 new shards, s", "indices", "midnight", both=False
    ),
    "midnight_ahead": Input(
        "the same, when they were made before, s", "indices", "midnight, made ahead", both=False
    ),
}


class Measured:
    """The figures of one workload, as attributes."""

    def __init__(self, workload: str) -> None:
        self._workload = workload

    def __getattr__(self, name: str) -> float:
        return INPUTS[name].value(self._workload)


def _of_host(fleet: Fleet) -> float:
    """The records of a host in a day."""
    return fleet.rate * _DAY


def _records(fleet: Fleet) -> float:
    return fleet.hosts * _of_host(fleet)


def _whole(value: float) -> float:
    return value if math.isnan(value) else math.ceil(value)


def _shards(fleet: Fleet, measured: Measured) -> float:
    return _whole(_records(fleet) * measured.index_bytes / _SHARD_BYTES)


def _buckets(fleet: Fleet, measured: Measured) -> float:
    """Indices of 10 shards each, in a day."""
    return _whole(_shards(fleet, measured) / 10)


def _core_speed(measured: Measured) -> float:
    """Records a second of a core: half for the replica, and half for everything else."""
    small = measured.bulk_250 / measured.bulk_2000
    return measured.server_speed / 2 * small / 2 / 2


def _at_rate(fleet: Fleet, measured: Measured, name: str) -> float | None:
    """A figure that was measured at two rates; None at any other."""
    return float(getattr(measured, f"{name}_{fleet.rate:.0f}")) if fleet.rate in RATES else None


def _default_bulks(fleet: Fleet, measured: Measured) -> float:
    found = _at_rate(fleet, measured, "requests")
    return fleet.hosts * (min(fleet.rate, 10.0) if found is None else found)


def _agent_percent(fleet: Fleet, measured: Measured) -> float:
    found = _at_rate(fleet, measured, "cpu")
    return fleet.rate * measured.signing_us / 1e4 if found is None else found


def _uploads(fleet: Fleet, measured: Measured) -> float:
    """Finished segments of every log, and a manifest an hour."""
    of_service = _whole(_of_host(fleet) * measured.file_bytes / _SEGMENT_BYTES)
    others = (fleet.logs - 1) * fleet.segments_a_day
    return fleet.hosts * (max(of_service, fleet.segments_a_day) + others + 24)


def _size(size_bytes: float) -> str:
    unit, factor = next(
        ((unit, factor) for unit, factor in _UNITS if size_bytes >= factor), ("MB", 1e6)
    )
    return _with_unit(size_bytes / factor, unit)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return _with_unit(seconds, "s")
    return _with_unit(seconds / 60, "min") if seconds < 5400 else _with_unit(seconds / 3600, "h")


def _percent(value: float) -> str:
    return _with_unit(value, "%")


def _with_unit(value: float, unit: str) -> str:
    return _UNKNOWN if math.isnan(value) else f"{_number(value)} {unit}"


def _number(value: float) -> str:
    """With three digits, or all of a larger one."""
    if math.isnan(value):
        return _UNKNOWN
    if value >= 1e9:
        return f"{value / 1e9:.1f}e9"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


Figure = Callable[[Fleet, Measured], float | str]

_ROWS: Final[tuple[tuple[str, str, Figure], ...]] = (
    ("records a day", "hosts x rate x 86,400", lambda f, _: _records(f)),
    ("**On a host**", "", lambda *_: ""),
    ("files a day", "rate x 86,400 x file", lambda f, m: _size(_of_host(f) * m.file_bytes)),
    (
        "disk, compressed after 30 days, deleted after 90",
        "30 days x file + 60 days x compressed",
        lambda f, m: _size(_of_host(f) * (30 * m.file_bytes + 60 * m.packed_bytes)),
    ),
    (
        "disk, compressed after 1 day",
        "2 days x file + 88 days x compressed",
        lambda f, m: _size(_of_host(f) * (2 * m.file_bytes + 88 * m.packed_bytes)),
    ),
    (
        "CPU of the agent while it keeps up",
        "measured at that rate, else rate x its cost of a record",
        lambda f, m: _percent(_agent_percent(f, m)),
    ),
    (
        "CPU of archiving",
        "rate x its cost of a record",
        lambda f, m: _percent(f.rate * m.archive_us / 1e4),
    ),
    ("**Cluster**", "", lambda *_: ""),
    ("index a day, one copy", "records x index", lambda f, m: _size(_records(f) * m.index_bytes)),
    (
        "index of 30 days, with a replica",
        "the same x 30 x 2",
        lambda f, m: _size(_records(f) * m.index_bytes * f.index_days * 2),
    ),
    ("primary shards a day", "index a day / 50 GB", _shards),
    ("buckets of 10 shards", "shards / 10", _buckets),
    ("shards a day, with a replica", "buckets x 10 x 2", lambda f, m: _buckets(f, m) * 20),
    (
        "days of them on 32 nodes",
        "32 x 1,000 / shards a day",
        lambda f, m: 32 * _SHARDS_A_NODE / (_buckets(f, m) * 20),
    ),
    (
        "cores",
        "records/s / (speed / 2 x that of bulks of 250 / 2 / 2)",
        lambda f, m: _whole(f.hosts * f.rate / _core_speed(m)),
    ),
    (
        "bulks a second, default settings",
        "hosts x measured at that rate",
        _default_bulks,
    ),
    ('bulks a second, `linger = "5s"`', "hosts / linger", lambda f, _: f.hosts / f.linger),
    ("connections, idle or busy", "hosts x 1", lambda f, _: f.hosts),
    ("connections at most, after an outage", "hosts x (3 + 1)", lambda f, _: f.hosts * 4),
    ("heartbeats a second, two logs a host", "hosts x 2 / 300", lambda f, _: f.hosts * 2 / 300),
    ("**Archive**", "", lambda *_: ""),
    ("uploaded a day", "records x archived", lambda f, m: _size(_records(f) * m.archive_bytes)),
    (
        "stored after a year",
        "the same x 365",
        lambda f, m: _size(_records(f) * m.archive_bytes * f.archive_days),
    ),
    ("uploads a day", "hosts x (segments of its logs + 24 manifests)", _uploads),
    (
        "search of a year of one host",
        "a year of a host / searched",
        lambda f, m: _duration(365 * _of_host(f) / m.search_speed),
    ),
    (
        "restore of a day of one host",
        "a day of a host / restored",
        lambda f, m: _duration(_of_host(f) / m.restore_speed),
    ),
    (
        "verification of a day of one host",
        "a day of a host / verified",
        lambda f, m: _duration(_of_host(f) / m.verify_speed),
    ),
)
_PRICES: Final[tuple[tuple[str, str, Figure], ...]] = (
    (
        "price of storage, a month, after a year",
        "stored x price of a TB and month",
        lambda f, m: _records(f) * m.archive_bytes * f.archive_days / 1e12 * f.price_tb_month,
    ),
    (
        "price of uploads, a month",
        "uploads x 30 / 1,000 x price of 1,000",
        lambda f, m: _uploads(f, m) * 30 / 1e3 * f.price_1000_puts,
    ),
)


def measured_table() -> str:
    """Return the table of measurements, each with its case."""
    rows = ["| measured | even | entropy | `python -m benchmarks`: case |", "|---|---:|---:|---|"]
    for each in INPUTS.values():
        even, entropy = (_number(each.value(workload)) for workload in WORKLOADS)
        rows.append(f"| {each.meaning} | {even} | {entropy if each.both else ''} | {each.source} |")
    return "\n".join(rows) + "\n"


def fleet_table(fleet: Fleet, rates: tuple[float, ...] = RATES) -> str:
    """Return the table of a fleet at each rate, with either workload."""
    heads = [f"{rate:g}/s, {workload}" for rate in rates for workload in WORKLOADS]
    rows = [
        f"| {fleet.hosts:,} hosts | formula | {' | '.join(heads)} |",
        f"|---|---|{'---:|' * len(heads)}",
    ]
    priced = fleet.price_tb_month or fleet.price_1000_puts
    for name, formula, figure in (*_ROWS, *(_PRICES if priced else ())):
        found = [
            figure(replace(fleet, rate=rate), Measured(workload))
            for rate in rates
            for workload in WORKLOADS
        ]
        cells = [each if isinstance(each, str) else _number(each) for each in found]
        rows.append(f"| {name} | {formula} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def rewritten(text: str) -> str:
    """The page with both tables, and the number of buckets, replaced."""
    for heading, table in (
        ("Measurements", measured_table()),
        ("The fleet", fleet_table(Fleet())),
    ):
        pattern = rf"(## {heading}\n[^|]*)(?:\|.*\n)+"
        found = re.search(pattern, text)
        if found is None:
            raise ValueError(f"{PAGE.name} has no table under {heading}")
        text = text[: found.end(1)] + table + text[found.end() :]
    buckets = _number(_buckets(Fleet(), Measured("entropy")))
    setting = rf"\g<1>{buckets}\g<2>{buckets}\g<3>"
    return re.sub(r"(\{bucket:)[\d?]+(\}\"\s+# )[\d?]+( indices a day)", setting, text)


def write_page() -> Path:
    """Write both tables of the page anew."""
    PAGE.write_text(rewritten(PAGE.read_text("utf-8")), "utf-8")
    return PAGE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    for each in fields(Fleet):
        option = f"--{each.name.replace('_', '-')}"
        kind = int if isinstance(each.default, int) and each.name != "rate" else float
        parser.add_argument(option, type=kind, default=None, metavar="N", help=f"{each.default}")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    fleet = Fleet(**given)
    print(fleet_table(fleet, (fleet.rate,) if "rate" in given else RATES), end="")


if __name__ == "__main__":
    main()
