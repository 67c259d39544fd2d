"""Count matches by a field, by hour or by day.  Pure: no clock, disk, network, logging.

Invariants (tests of the same name in tests/auditctl/search/test_grouping.py):
  sum       every answer is counted once; one without the field under a key of its own
  no_gaps   by hour and by day, a time without answers between two others is shown with 0
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from auditlog.query.predicate import values_at
from auditlog.query.syntax import resolve_name

if TYPE_CHECKING:
    from auditlog.format.record import Record

__all__ = ["NONE", "Grouping"]

NONE: Final = "(none)"
"""The key of answers without a value in the field."""

_OTHER: Final = "(other)"
_MAX_KEYS: Final = 100_000
_STEPS: Final = {
    "hour": (13, "%Y-%m-%dT%H", dt.timedelta(hours=1)),
    "day": (10, "%Y-%m-%d", dt.timedelta(days=1)),
}
_MAX_GAPS: Final = 1000


@dataclass(slots=True)
class Grouping:
    """Counts by ``hour``, ``day`` or the first value of a field.

    Beyond 100,000 different values, new ones are counted together.  Raises QueryError for a field
    that there is not.
    """

    by: str
    total: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if self.by not in _STEPS:
            self.by = resolve_name(self.by)

    @property
    def in_time(self) -> bool:
        return self.by in _STEPS

    def add(self, record: Record) -> None:
        """Raises LogDamaged for a record that is not JSON."""
        key = self._key(record)
        if key not in self.counts and len(self.counts) >= _MAX_KEYS:
            key = _OTHER
        self.counts[key] += 1
        self.total += 1

    def groups(self) -> list[tuple[str, int]]:
        """Return times in order, empty ones included; other values by descending count."""
        if not self.in_time:
            return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        _, pattern, step = _STEPS[self.by]
        keys = sorted(self.counts)
        groups: list[tuple[str, int]] = []
        for key, following in zip_longest(keys, keys[1:], fillvalue=""):
            groups.append((key, self.counts[key]))
            gap = dt.datetime.strptime(key, pattern).replace(tzinfo=dt.UTC) + step
            while following and len(groups) < _MAX_GAPS and gap.strftime(pattern) < following:
                groups.append((gap.strftime(pattern), 0))
                gap += step
        return groups

    def _key(self, record: Record) -> str:
        if self.in_time:
            return record.header.timestamp[: _STEPS[self.by][0]]
        value = next(values_at(record.fields, self.by), None)
        if value is None or isinstance(value, dict):
            return NONE
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)
