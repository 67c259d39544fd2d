"""Define the logs and the period of a search.  Pure: no clock, disk, network, logging.

Invariants (tests of the same name in tests/auditlog/query/test_scope.py):
  half_open   a range has its first instant and not its last
  days        a day that holds a record of the range is never skipped
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from fnmatch import fnmatchcase

from auditlog.errors import QueryError
from auditlog.format.record import format_timestamp
from auditlog.query.times import parse_time

__all__ = ["SearchScope"]

_INSTANT = dt.timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class SearchScope:
    """Logs by a glob over their ids, and records from ``since_at`` (included) to ``until_at``.

    Raises QueryError for a range that ends before it begins.
    """

    logs: str = "*"
    since_at: dt.datetime | None = None
    until_at: dt.datetime | None = None

    def __post_init__(self) -> None:
        if self.since_at and self.until_at and self.until_at <= self.since_at:
            raise QueryError(
                f"the range ends at {format_timestamp(self.until_at)} and begins at "
                f"{format_timestamp(self.since_at)}",
                hint="Nothing lies between them; swap --since and --until.",
            )

    @classmethod
    def asked_for(
        cls, logs: str, since: str | None, until: str | None, now: dt.datetime
    ) -> SearchScope:
        """By the texts of --log, --since and --until.  Raises QueryError."""
        return cls(
            logs,
            None if since is None else parse_time(since, now),
            None if until is None else parse_time(until, now, end=True),
        )

    @property
    def since(self) -> str:
        """As a record's timestamp, which compare as texts; "" is before all of them."""
        return "" if self.since_at is None else format_timestamp(self.since_at)

    @property
    def until(self) -> str:
        return "~" if self.until_at is None else format_timestamp(self.until_at)

    def has_log(self, log: str) -> bool:
        return fnmatchcase(log, self.logs)

    def has_day(self, day: dt.date) -> bool:
        """Whether some instant of the UTC day is in the range."""
        if self.since_at is not None and day < self.since_at.astimezone(dt.UTC).date():
            return False
        if self.until_at is None:
            return True
        return day <= (self.until_at - _INSTANT).astimezone(dt.UTC).date()
