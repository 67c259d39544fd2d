"""How long segments stay, and in which form.  Pure: no clock, disk, network.

Invariants (tests of the same name in tests/retention/test_policy.py):
  never_empty      zero, negative and missing durations are errors, never "everything"
  never_inverted   a segment is compressed before it is deleted
  round_trip       from_json gives back what to_json was given
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from retention.errors import PolicyError

__all__ = ["Compression", "Policy", "format_duration", "parse_duration"]

Compression = Literal["zstd", "gzip"]

_DURATION: Final = re.compile(r"([0-9]{1,9})([dhms])", re.ASCII)
_UNITS: Final = {
    "d": dt.timedelta(days=1),
    "h": dt.timedelta(hours=1),
    "m": dt.timedelta(minutes=1),
    "s": dt.timedelta(seconds=1),
}
_LEVELS: Final = {"zstd": range(1, 20), "gzip": range(1, 10)}


def parse_duration(text: str) -> dt.timedelta:
    """A whole number and one of d, h, m, s.  Raises PolicyError.

    >>> parse_duration("90d").days
    90
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise PolicyError(
            f"{text!r} is not a duration", hint="Write a number and a unit: 90d, 12h, 30m or 15s."
        )
    return int(match[1]) * _UNITS[match[2]]


def format_duration(duration: dt.timedelta) -> str:
    """The shortest text that parse_duration reads as the same; fractions of a second are cut.

    >>> format_duration(dt.timedelta(hours=36))
    '36h'
    """
    whole = dt.timedelta(seconds=int(duration.total_seconds()))
    unit = next(unit for unit, length in _UNITS.items() if whole % length == dt.timedelta(0))
    return f"{whole // _UNITS[unit]}{unit}"


@dataclass(frozen=True, slots=True)
class Policy:
    """When a segment is compressed and deleted, counted from its last record.

    ``keep_at_least`` newest segments of a log are never deleted, however old.  A run that would
    delete more than ``max_delete_fraction`` of a log's segments stops and asks.  ``level`` is the
    compressor's own; None takes the one measured best for audit records.

    Raises PolicyError.
    """

    compress_after: dt.timedelta = dt.timedelta(days=30)
    delete_after: dt.timedelta = dt.timedelta(days=90)
    compression: Compression = "zstd"
    level: int | None = None
    keep_at_least: int = 1
    max_delete_fraction: float = 0.5

    def __post_init__(self) -> None:
        for name in ("compress_after", "delete_after"):
            duration = getattr(self, name)
            if not isinstance(duration, dt.timedelta):
                raise PolicyError(f"{name} is {duration!r}, not a duration")
            if duration < dt.timedelta(seconds=1):
                raise PolicyError(
                    f"{name} is {duration.total_seconds():g} s",
                    hint="Zero does not mean everything; the shortest duration is 1s.",
                )
        if self.delete_after <= self.compress_after:
            raise PolicyError(
                f"delete_after ({format_duration(self.delete_after)}) is not longer than "
                f"compress_after ({format_duration(self.compress_after)})",
                hint="Segments are compressed first and deleted later.",
            )
        if self.compression not in get_args(Compression):
            raise PolicyError(
                f"{self.compression!r} is no compression", hint="Use 'zstd' or 'gzip'."
            )
        levels = _LEVELS[self.compression]
        if self.level is not None and (type(self.level) is not int or self.level not in levels):
            raise PolicyError(
                f"level is {self.level!r}; {self.compression} has {levels[0]} to {levels[-1]}"
            )
        if type(self.keep_at_least) is not int or self.keep_at_least < 1:
            raise PolicyError(
                f"keep_at_least is {self.keep_at_least!r}",
                hint="The newest segment of a log always stays: 1 is the least.",
            )
        fraction = self.max_delete_fraction
        if type(fraction) not in (int, float) or not 0 < fraction <= 1:
            raise PolicyError(
                f"max_delete_fraction is {fraction!r}", hint="It lies above 0 and up to 1."
            )

    def to_json(self) -> dict[str, Any]:
        return {
            "compress_after": format_duration(self.compress_after),
            "delete_after": format_duration(self.delete_after),
            "compression": self.compression,
            "level": self.level,
            "keep_at_least": self.keep_at_least,
            "max_delete_fraction": self.max_delete_fraction,
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Policy:
        """The reverse of to_json.  Raises PolicyError; TypeError or KeyError for wrong keys."""
        durations = {
            name: parse_duration(fields[name]) for name in ("compress_after", "delete_after")
        }
        return cls(**{**fields, **durations})
