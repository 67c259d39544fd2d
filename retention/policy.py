"""Define how long segments, foreign files and indices are kept, and in which form.  Pure.

Invariants (tests of the same name in tests/retention/test_policy.py):
  never_empty      zero, negative and missing durations are errors, never "everything"
  never_inverted   a segment is compressed before it is deleted
  round_trip       from_json gives back what to_json was given
  first_match      the first glob that matches a log's id selects its policy, else the default
  adopted          the first pattern that matches a foreign file's name selects its policy
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, get_args

from retention.errors import PolicyError

__all__ = [
    "Compression",
    "DeletionCheck",
    "ForeignPolicy",
    "IndexPolicy",
    "RetentionPolicy",
    "Shipped",
    "format_duration",
    "parse_duration",
    "plain_name",
]

Compression = Literal["zstd", "gzip"]
DeletionCheck = Literal["auto", "index", "none"]
Shipped = Literal["required", "not_required"]

_DURATION: Final = re.compile(r"([0-9]{1,9})([dhms])", re.ASCII)
_UNITS: Final = {
    "d": dt.timedelta(days=1),
    "h": dt.timedelta(hours=1),
    "m": dt.timedelta(minutes=1),
    "s": dt.timedelta(seconds=1),
}
_LEVELS: Final = {"zstd": range(1, 20), "gzip": range(1, 10)}
_WINDOWS: Final = tuple(1 << log for log in range(20, 28))  # zstd(1): more needs --ultra to read


def parse_duration(text: str) -> dt.timedelta:
    """Parse a whole number and one of d, h, m, s.  Raises PolicyError.

    >>> parse_duration("90d").days
    90
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise PolicyError(
            f"{text!r} is not a duration", hint="Write a number and a unit: 90d, 12h, 30m or 15s."
        )
    return int(match[1]) * _UNITS[match[2]]


@lru_cache(maxsize=64)  # a plan prints the same few durations once for each segment
def format_duration(duration: dt.timedelta) -> str:
    """Return the shortest text that parse_duration accepts; fractions of a second are cut.

    >>> format_duration(dt.timedelta(hours=36))
    '36h'
    """
    whole = dt.timedelta(seconds=int(duration.total_seconds()))
    unit = next(unit for unit, length in _UNITS.items() if whole % length == dt.timedelta(0))
    return f"{whole // _UNITS[unit]}{unit}"


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Ages at which segments are compressed and deleted, counted from their last record.

    compress_after, delete_after   age of the last record
    compression, level             the level is the compressor's; None takes the settings measured
                                   best for audit records
    long_window_bytes              zstd's window for repetitions (``--long`` of zstd(1));
                                   compressing and reading then take that much memory
    keep_at_least                  number of newest segments of a log that are never deleted
    max_delete_fraction            a run that would delete a larger share of a log's segments stops
    verify_before_delete           "index": count a segment's records in every sink before deleting;
                                   "auto": in every sink whose user may read; "none": trust cursors
    max_total_bytes                limit for the directory's segments and adopted files; beyond it
                                   the oldest are deleted early, unless a rule other than age keeps
                                   them
    overrides                      (glob over log ids, policy); the first match applies
    foreign                        foreign files to adopt; others are never touched

    Raises PolicyError.
    """

    compress_after: Annotated[
        dt.timedelta, "age of its last record at which a segment is compressed"
    ] = dt.timedelta(days=30)
    delete_after: Annotated[
        dt.timedelta,
        "age of its last record at which a segment is deleted; nothing is deleted that a sink has "
        "not acknowledged",
    ] = dt.timedelta(days=90)
    compression: Annotated[Compression, "`zstd` or `gzip`"] = "zstd"
    level: Annotated[int | None, "level of the compressor's own scale", "measured best"] = None
    long_window_bytes: Annotated[
        int | None, "window of zstd's long-distance matching; reading takes that much memory"
    ] = None
    keep_at_least: Annotated[int, "newest segments that are never deleted, however old"] = 1
    max_delete_fraction: Annotated[
        float, "fraction of a log's segments; a run that would delete more stops (exit code 4)"
    ] = 0.5
    verify_before_delete: Annotated[
        DeletionCheck,
        "count the records in the sinks before they are deleted: `index` in every sink, `auto` in "
        "those whose user may read, `none` in no sink; one that does not answer keeps them",
    ] = "auto"
    max_total_bytes: Annotated[
        int | None, "total size of segments and adopted files above which the oldest go earlier"
    ] = None
    overrides: tuple[tuple[str, RetentionPolicy], ...] = ()
    foreign: tuple[ForeignPolicy, ...] = ()

    def __post_init__(self) -> None:
        self._check_ages()
        self._check_compression()
        if type(self.keep_at_least) is not int or self.keep_at_least < 1:
            raise PolicyError(
                f"keep_at_least is {self.keep_at_least!r}",
                hint="The newest segment of a log is always kept: the minimum is 1.",
            )
        fraction = self.max_delete_fraction
        if type(fraction) not in (int, float) or not 0 < fraction <= 1:
            raise PolicyError(
                f"max_delete_fraction is {fraction!r}", hint="It must be above 0 and at most 1."
            )
        if self.verify_before_delete not in get_args(DeletionCheck):
            raise PolicyError(
                f"verify_before_delete is {self.verify_before_delete!r}",
                hint="Use 'index' or 'auto' to count the records there first, or 'none'.",
            )
        if self.max_total_bytes is not None and (
            type(self.max_total_bytes) is not int or self.max_total_bytes < 1
        ):
            raise PolicyError(
                f"max_total_bytes is {self.max_total_bytes!r}",
                hint="Zero is not allowed; leave it out for no limit.",
            )
        for glob, policy in self.overrides:
            if not glob.strip():
                raise PolicyError("an override has an empty pattern of log ids")
            _check_part(policy, glob)
        patterns = [foreign.pattern for foreign in self.foreign]
        if len(set(patterns)) < len(patterns):
            raise PolicyError("a pattern of foreign files is given twice")

    def _check_ages(self) -> None:
        for name in ("compress_after", "delete_after"):
            duration = getattr(self, name)
            if not isinstance(duration, dt.timedelta):
                raise PolicyError(f"{name} is {duration!r}, not a duration")
            if duration < dt.timedelta(seconds=1):
                raise PolicyError(
                    f"{name} is {duration.total_seconds():g} s",
                    hint="Zero is not allowed; the shortest duration is 1s.",
                )
        if self.delete_after <= self.compress_after:
            raise PolicyError(
                f"delete_after ({format_duration(self.delete_after)}) is not longer than "
                f"compress_after ({format_duration(self.compress_after)})",
                hint="Segments are compressed first and deleted later.",
            )

    def _check_compression(self) -> None:
        if self.compression not in get_args(Compression):
            raise PolicyError(
                f"{self.compression!r} is not a compression", hint="Use 'zstd' or 'gzip'."
            )
        levels = _LEVELS[self.compression]
        if self.level is not None and (type(self.level) is not int or self.level not in levels):
            raise PolicyError(
                f"level is {self.level!r}; {self.compression} accepts {levels[0]} to {levels[-1]}"
            )
        if self.long_window_bytes is not None and (
            self.compression != "zstd" or self.long_window_bytes not in _WINDOWS
        ):
            raise PolicyError(
                f"long_window_bytes is {self.long_window_bytes!r}",
                hint="It applies to zstd, and is a power of two from 1 MiB to 128 MiB.",
            )

    def of(self, log: str) -> RetentionPolicy:
        """Return the policy of one log."""
        return next((policy for glob, policy in self.overrides if fnmatchcase(log, glob)), self)

    def adopts(self, name: str) -> ForeignPolicy | None:
        """Return the policy that adopts a foreign file of this name; None: never touch it."""
        return next((foreign for foreign in self.foreign if foreign.matches(name)), None)

    def to_json(self) -> dict[str, Any]:
        common: dict[str, Any] = {
            "compress_after": format_duration(self.compress_after),
            "delete_after": format_duration(self.delete_after),
            "compression": self.compression,
            "level": self.level,
            "long_window_bytes": self.long_window_bytes,
            "keep_at_least": self.keep_at_least,
            "max_delete_fraction": self.max_delete_fraction,
            "verify_before_delete": self.verify_before_delete,
            "max_total_bytes": self.max_total_bytes,
        }
        if self.overrides:
            common["overrides"] = [[glob, policy.to_json()] for glob, policy in self.overrides]
        if self.foreign:
            common["foreign"] = [foreign.to_json() for foreign in self.foreign]
        return common

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> RetentionPolicy:
        """The reverse of to_json.  Raises PolicyError; TypeError or KeyError for wrong keys."""
        durations = {
            name: parse_duration(fields[name]) for name in ("compress_after", "delete_after")
        }
        overrides = tuple(
            (glob, cls.from_json(policy)) for glob, policy in fields.get("overrides", ())
        )
        foreign = tuple(ForeignPolicy.from_json(each) for each in fields.get("foreign", ()))
        return cls(**{**fields, **durations, "overrides": overrides, "foreign": foreign})


@dataclass(frozen=True, slots=True)
class ForeignPolicy:
    """Ages at which foreign files of a pattern are compressed and deleted.

    pattern           glob over the file name; it also matches the .gz and .zst forms of a name
    policy            ages, compression, keep_at_least and max_delete_fraction of these files;
                      with verify_before_delete they are never deleted, since their lines cannot be
                      counted in a sink
    shipped           "not_required": delete them although no source ships them; a source that
                      does is still waited for
    timestamp_fields  members (or paths of members) with a line's time; the first usable one counts
    sources           (name, paths) of the ndjson sources, whose cursors say what was shipped

    Raises PolicyError.
    """

    pattern: Annotated[
        str, "glob over file names; the `.gz` and `.zst` forms of a name belong to it"
    ]
    policy: RetentionPolicy
    shipped: Annotated[
        Shipped, "`not_required`: may be deleted although no `[[sources.ndjson]]` ships them"
    ] = "required"
    timestamp_fields: Annotated[
        tuple[str, ...], "members that hold the time of a line; the first that does counts"
    ] = ("@timestamp", "timestamp")
    sources: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        if not self.pattern.strip() or "/" in self.pattern:
            raise PolicyError(
                f"{self.pattern!r} is not a pattern of foreign files",
                hint='Give a glob over the names in the configured directories, like "*.ndjson".',
            )
        if self.shipped not in get_args(Shipped):
            raise PolicyError(
                f"shipped is {self.shipped!r}",
                hint="Use 'not_required' where no source ships these files, or leave it out.",
            )
        if not self.timestamp_fields or not all(self.timestamp_fields):
            raise PolicyError("timestamp_fields names no field")
        _check_part(self.policy, self.pattern)

    def matches(self, name: str) -> bool:
        return fnmatchcase(name, self.pattern) or fnmatchcase(plain_name(name), self.pattern)

    def to_json(self) -> dict[str, Any]:
        return {
            "pattern": self.pattern,
            "policy": self.policy.to_json(),
            "shipped": self.shipped,
            "timestamp_fields": list(self.timestamp_fields),
            "sources": [[name, list(paths)] for name, paths in self.sources],
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> ForeignPolicy:
        """The reverse of to_json.  Raises PolicyError; TypeError or KeyError for wrong keys."""
        policy = RetentionPolicy.from_json(fields["policy"])
        sources = tuple((name, tuple(paths)) for name, paths in fields["sources"])
        given = {"timestamp_fields": tuple(fields["timestamp_fields"]), "sources": sources}
        return cls(**{**fields, **given, "policy": policy})


@dataclass(frozen=True, slots=True)
class IndexPolicy:
    """When daily indices ``<prefix>-<yyyy.mm.dd>`` at ``urls`` are deleted, after their day ended.

    Raises PolicyError.
    """

    sink: str
    urls: tuple[str, ...]
    prefix: str
    delete_after: dt.timedelta
    max_delete_fraction: float = 0.5

    def __post_init__(self) -> None:
        if self.delete_after < _UNITS["d"]:
            raise PolicyError(
                f"index_delete_after of sink {self.sink} is "
                f"{self.delete_after.total_seconds():g} s",
                hint="An index holds a day, so the minimum is 1d; leave it out to delete none.",
            )

    @property
    def target(self) -> str:
        """The indices it applies to; a run with another target is announced first."""
        return f"{self.prefix}-* at {', '.join(sorted(self.urls))}"

    def to_json(self) -> dict[str, Any]:
        return {
            "index_delete_after": format_duration(self.delete_after),
            "max_delete_fraction": self.max_delete_fraction,
        }


def plain_name(name: str) -> str:
    """Return the name of a foreign file's plain form."""
    return name.removesuffix(".zst").removesuffix(".gz")


def _check_part(policy: RetentionPolicy, glob: str) -> None:
    if policy.overrides or policy.foreign or policy.max_total_bytes is not None:
        raise PolicyError(
            f"the policy for {glob} has a setting that only the whole directory can have",
            hint="max_total_bytes limits all logs together; set it once.",
        )
