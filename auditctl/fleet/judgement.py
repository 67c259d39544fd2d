"""Decide which logs of a fleet have faults.  Pure: ``now`` is an argument.

Invariants (tests of the same name in tests/auditctl/fleet/test_judgement.py):
  named     a silent, gapped, forked, unknown or missing log is named, and no other
  by_host   a host is silent only when all of its logs are
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from auditctl.fleet.ranges import Irregularities, RangeCount, is_whole
from auditlog.errors import InvalidName
from auditlog.format.record import format_timestamp
from auditlog.format.segment_names import LogId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["FleetReport", "LogLine", "LogSummary", "judge"]


@dataclass(frozen=True, slots=True)
class LogSummary:
    """One log as a sink holds it; ``seq_sum`` is the sum of the seqs of all its records."""

    log: str
    records: int
    first_seq: int
    last_seq: int
    seq_sum: int
    last_at: dt.datetime

    @property
    def is_whole(self) -> bool:
        return is_whole(self.first_seq, self.last_seq, RangeCount(self.records, self.seq_sum))


@dataclass(frozen=True, slots=True)
class LogLine:
    """One log, or one host, of the report; without any record ``last_at`` is None."""

    name: str
    records: int
    first_seq: int | None
    last_seq: int | None
    last_at: dt.datetime | None
    irregularities: Irregularities
    problems: tuple[str, ...]
    witnessed_through_seq: int | None = None

    def to_json(self) -> dict[str, Any]:
        witnessed = self.witnessed_through_seq
        return {
            "name": self.name,
            "records": self.records,
            "first_seq": self.first_seq,
            "last_seq": self.last_seq,
            "last_record_at": None if self.last_at is None else format_timestamp(self.last_at),
            "gaps": [list(gap) for gap in self.irregularities.gaps],
            "forks": list(self.irregularities.forks),
            "problems": list(self.problems),
            **({} if witnessed is None else {"witnessed_through_seq": witnessed}),
        }


@dataclass(frozen=True, slots=True)
class FleetReport:
    """All lines, sorted by name."""

    at: dt.datetime
    lines: tuple[LogLine, ...]

    @property
    def ok(self) -> bool:
        return not any(line.problems for line in self.lines)

    def with_witnessed(self, seqs: Mapping[str, int]) -> FleetReport:
        """Return the report with the last witnessed record of each log in ``seqs``."""
        lines = (replace(line, witnessed_through_seq=seqs.get(line.name)) for line in self.lines)
        return replace(self, lines=tuple(lines))

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "auditctl.fleet/1",
            "at": format_timestamp(self.at),
            "ok": self.ok,
            "lines": [line.to_json() for line in self.lines],
        }


def judge(
    summaries: Iterable[LogSummary],
    look_closely: Callable[[LogSummary], Irregularities],
    *,
    now: dt.datetime,
    silent_after: dt.timedelta | None = None,
    inventory: frozenset[str] | None = None,
    by_host: bool = False,
) -> FleetReport:
    """Return a line a log, or a host, each with what a person has to look at.

    ``look_closely`` finds the gaps and forks of a log whose count is not that of its seqs.
    ``inventory`` names the logs and hosts that are expected; a host stands for all of its logs.
    """
    lines = [_line(one, look_closely, now, silent_after, inventory) for one in summaries]
    if by_host:
        lines = _by_host(lines, now, silent_after)
    seen = {line.name for line in lines} | {_host(line.name) for line in lines}
    missing = () if inventory is None else sorted(inventory - seen)
    if by_host:
        missing = sorted({_host(name) for name in missing} - seen)
    lines += [
        LogLine(name, 0, None, None, None, Irregularities(), ("missing: no record of it",))
        for name in missing
    ]
    return FleetReport(now, tuple(sorted(lines, key=lambda line: line.name)))


def _line(
    log: LogSummary,
    look_closely: Callable[[LogSummary], Irregularities],
    now: dt.datetime,
    silent_after: dt.timedelta | None,
    inventory: frozenset[str] | None,
) -> LogLine:
    found = Irregularities() if log.is_whole else look_closely(log)
    problems = []
    if inventory is not None and not inventory & {log.log, _host(log.log)}:
        problems.append("unknown: it is not in the inventory")
    problems += _silence(log.last_at, now, silent_after)
    if found.gaps:
        missing = sum(last - first + 1 for first, last in found.gaps)
        first, last = found.gaps[0]
        problems.append(f"{missing} records are missing, the first from seq {first} to {last}")
    if found.forks:
        problems.append(
            f"{len(found.forks)} seqs have several records, the first is {found.forks[0]}:"
            " two hosts may share this name"
        )
    if not found.complete:
        problems.append("more is wrong than was counted")
    return LogLine(
        log.log, log.records, log.first_seq, log.last_seq, log.last_at, found, tuple(problems)
    )


def _silence(
    last_at: dt.datetime | None, now: dt.datetime, silent_after: dt.timedelta | None
) -> list[str]:
    if silent_after is None or last_at is None or now - last_at <= silent_after:
        return []
    return [f"silent since {format_timestamp(last_at)}"]


def _by_host(
    lines: list[LogLine], now: dt.datetime, silent_after: dt.timedelta | None
) -> list[LogLine]:
    hosts: dict[str, list[LogLine]] = defaultdict(list)
    for line in lines:
        hosts[_host(line.name)].append(line)
    joined = []
    for host, logs in hosts.items():
        last_at = max((line.last_at for line in logs if line.last_at is not None), default=None)
        problems = [
            f"{line.name}: {problem}"
            for line in logs
            for problem in line.problems
            if not problem.startswith("silent ")
        ]
        problems += _silence(last_at, now, silent_after)
        records = sum(line.records for line in logs)
        joined.append(
            LogLine(host, records, None, None, last_at, Irregularities(), tuple(problems))
        )
    return joined


def _host(log: str) -> str:
    try:
        return LogId.parse(log).host
    except InvalidName:
        return log
