"""Name the indices of a sink: by prefix, bucket of the log, and period of the record's day.  Pure.

    llama-orch-audit-2026.11.23           index_period = "day"
    llama-orch-audit-2026.w48             "week", as ISO 8601 counts them
    llama-orch-audit-2026.11              "month"
    llama-orch-audit-07-2026.11.23        index_prefix = "llama-orch-audit-{bucket:28}"

A bucket is made from the hash of the log's id alone, so one configuration fits all hosts, and a
record has the same index whoever ships it: sent again, it is a duplicate there.

Invariants (tests of the same name in tests/auditlog/format/test_index_names.py):
  stable     the index of a record depends on its log and day, and on nothing else
  reversed   the days of an index are those whose records it takes, and no other name has days
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, Literal

__all__ = ["IndexNames", "IndexPeriod"]

IndexPeriod = Literal["day", "week", "month"]

_MOST_BUCKETS: Final = 1000
_BUCKET: Final = re.compile(r"\{bucket:([0-9]{1,4})\}", re.ASCII)
_BUCKET_AND_DASH: Final = re.compile(f"-?{_BUCKET.pattern}", re.ASCII)
_DATED: Final = re.compile(
    r"-([0-9]{4})\.(?:([0-9]{2})\.([0-9]{2})|w([0-9]{2})|([0-9]{2}))", re.ASCII
)


@dataclass(frozen=True, slots=True)
class IndexNames:
    """The names of the indices of one prefix.  Raises ValueError for a prefix that cannot work."""

    prefix: str
    period: IndexPeriod = "day"

    def __post_init__(self) -> None:
        found = _BUCKET.findall(self.prefix)
        rest = _BUCKET.sub("", self.prefix)
        if len(found) > 1 or "{" in rest or "}" in rest:
            raise ValueError("a prefix has at most one {bucket:NN}, with the number of buckets")
        if found and not 1 <= int(found[0]) <= _MOST_BUCKETS:
            raise ValueError(f"{{bucket:NN}} has to be from 1 to {_MOST_BUCKETS}")

    def of(self, key: str, day: str) -> str:
        """Return the index of a record: ``key`` is its log, ``day`` as in ``2026-11-23``."""
        return f"{_bucketed(self.prefix, key)}-{_dated(self.period, day)}"

    @property
    def pattern(self) -> str:
        """The wildcard that takes all of them."""
        return f"{_BUCKET.sub('*', self.prefix)}-*"

    @property
    def plain(self) -> str:
        """The prefix without its bucket, as a name for what belongs to all indices."""
        if _BUCKET.search(self.prefix) is None:
            return self.prefix
        return _BUCKET_AND_DASH.sub("", self.prefix).lstrip("-")

    def of_source(self, source: str) -> IndexNames:
        """``llama-orch-audit`` and a source ``journal`` give ``llama-orch-journal``."""
        plain, bucket = self.plain, _BUCKET.search(self.prefix)
        tail = f"-{bucket[0]}" if bucket else ""
        return IndexNames(f"{plain.removesuffix('-audit')}-{source}{tail}", self.period)

    def days(self, index: str) -> tuple[dt.date, dt.date] | None:
        """Return the first and the last day of an index, of any period; None for another name."""
        parts = [re.escape(part) for part in _BUCKET.split(self.prefix)]
        if len(parts) > 1:  # before the bucket, the number of buckets, behind it
            parts = [parts[0], "[0-9]+", parts[2]]
        match = re.fullmatch("".join(parts) + _DATED.pattern, index, re.ASCII)
        return None if match is None else _days(*match.groups())

    def all_of(self, day: str) -> tuple[str, ...]:
        """Return every index that may take a record of the day."""
        bucket = _BUCKET.search(self.prefix)
        dated = _dated(self.period, day)
        if bucket is None:
            return (f"{self.prefix}-{dated}",)
        buckets = int(bucket[1])
        return tuple(f"{_numbered(self.prefix, number)}-{dated}" for number in range(buckets))


@lru_cache(16_384)
def _bucketed(prefix: str, key: str) -> str:
    bucket = _BUCKET.search(prefix)
    if bucket is None:
        return prefix
    return _numbered(prefix, int.from_bytes(sha256(key.encode()).digest()[:8]) % int(bucket[1]))


def _numbered(prefix: str, number: int) -> str:
    return _BUCKET.sub(lambda m: f"{number:0{len(str(int(m[1]) - 1))}}", prefix)


@lru_cache(1024)
def _dated(period: IndexPeriod, day: str) -> str:
    match period:
        case "day":
            return day.replace("-", ".")
        case "month":
            return day[:7].replace("-", ".")
        case "week":
            year, week, _ = dt.date.fromisoformat(day).isocalendar()
            return f"{year:04}.w{week:02}"


def _days(
    year: str, month: str | None, day: str | None, week: str | None, whole: str | None
) -> tuple[dt.date, dt.date] | None:
    try:
        if day is not None and month is not None:
            first = last = dt.date(int(year), int(month), int(day))
        elif week is not None:
            first = dt.date.fromisocalendar(int(year), int(week), 1)
            last = first + dt.timedelta(days=6)
        else:
            first = dt.date(int(year), int(whole or 0), 1)
            last = (first + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)
    except (ValueError, OverflowError):
        return None
    return first, last
