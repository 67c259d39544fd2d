"""Parse human-readable times.  Pure: ``now`` is an argument.

    now  today  yesterday           2026-11-23                  a whole day, in UTC like all records
    10:30  10:30:15                 2026-11-23 10:30[:15[.5]]   today, or on that day
    15m  2h  3d  3d ago  -3d        2026-11-23T10:30:00+01:00   with a zone of its own

Invariants (tests of the same name in tests/auditlog/query/test_times.py):
  utc       a time without a zone is UTC
  whole     a day begins a range at its first instant and ends it with its last
  refused   everything else is refused with what can be written
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from auditlog.errors import QueryError

__all__ = ["parse_time"]

_HINT: Final = (
    "Write 2026-11-23, 2026-11-23T10:30:00Z, 10:30, yesterday, today, now, or an age like 2h "
    "(also s, m, d, w)."
)
_AGO: Final = re.compile(
    r"(?:-?([0-9]{1,6})\s*([smhdw])|([0-9]{1,6})\s*([smhdw]|sec(?:ond)?s?|min(?:ute)?s?|hours?|days?"
    r"|weeks?)\s+ago)",
    re.ASCII,
)
_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?", re.ASCII)
_UNITS: Final = {
    "s": dt.timedelta(seconds=1),
    "m": dt.timedelta(minutes=1),
    "h": dt.timedelta(hours=1),
    "d": dt.timedelta(days=1),
    "w": dt.timedelta(weeks=1),
}
_DAY: Final = dt.timedelta(days=1)


def parse_time(text: str, now: dt.datetime, *, end: bool = False) -> dt.datetime:
    """The instant that begins a range (``end``: the one before which it ends).  Raises QueryError.

    >>> now = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
    >>> parse_time("yesterday", now).isoformat()
    '2026-11-22T00:00:00+00:00'
    >>> parse_time("yesterday", now, end=True).isoformat()
    '2026-11-23T00:00:00+00:00'
    """
    words = " ".join(text.split())
    now = now.astimezone(dt.UTC)
    try:
        day = _day(words, now)
        return day + _DAY if day is not None and end else day or _instant(words, now)
    except (ValueError, OverflowError):
        raise QueryError(f"{text!r} is not a time", hint=_HINT) from None


def _day(words: str, now: dt.datetime) -> dt.datetime | None:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if words == "today":
        return midnight
    if words == "yesterday":
        return midnight - _DAY
    if re.fullmatch(r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}", words, re.ASCII):
        return dt.datetime.fromisoformat(words).replace(tzinfo=dt.UTC)
    return None


def _instant(words: str, now: dt.datetime) -> dt.datetime:
    if words == "now":
        return now
    if (ago := _AGO.fullmatch(words)) is not None:
        count, unit = ago[1] or ago[3], ago[2] or ago[4]
        return now - int(count) * _UNITS[unit[0]]
    if (clock := _CLOCK.fullmatch(words)) is not None:
        hour, minute, second = (int(part or 0) for part in clock.groups())
        return now.replace(hour=hour, minute=minute, second=second, microsecond=0)
    if re.match(r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}[T ]", words, re.ASCII) is None:
        raise ValueError
    instant = dt.datetime.fromisoformat(words)
    return (instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
