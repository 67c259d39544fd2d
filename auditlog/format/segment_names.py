"""Build and parse the names of logs and of their segment files.  Pure.

A log is ``service@host`` or ``service@host+instance``; a segment of it is
``<log>.<UTC day>.<part>.ndjson``, after compression with ``.zst`` or ``.gz`` behind.

Invariants (tests of the same name in tests/auditlog/format/test_segment_names.py):
  round_trip   parse(str(name)) == name for every name that can be built
  ordered      the order of names is the order in which the segments were written
  refused      a character outside [A-Za-z0-9._-] is refused with an error that names it
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from auditlog.errors import InvalidName

__all__ = ["COMPRESSIONS", "LogId", "SegmentName", "is_segment_name"]

COMPRESSIONS: Final = ("", ".zst", ".gz")
"""The three forms of one logical segment, in the order a reader prefers them."""

_PART: Final = re.compile(r"[A-Za-z0-9._-]+")
_STRANGE: Final = re.compile(r"[^A-Za-z0-9._-]")
_SEGMENT: Final = re.compile(
    r"(?P<log>.+)\.(?P<day>\d{4}-\d{2}-\d{2})\.(?P<part>\d{4,9})\.ndjson(?P<compression>\.zst|\.gz)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class LogId:
    """One writer's log: the service, the host it runs on, and which of its processes.

    >>> str(LogId("rbee-hive", "gpu-1.example.org", "2"))
    'rbee-hive@gpu-1.example.org+2'
    >>> LogId.parse("queen-rbee@hive1")
    LogId(service='queen-rbee', host='hive1', instance='')

    Raises InvalidName on an empty part or one with a character outside ``[A-Za-z0-9._-]``.
    """

    service: str
    host: str
    instance: str = ""

    def __post_init__(self) -> None:
        for label, text in (("service", self.service), ("host", self.host)):
            _check_part(label, text)
        if self.service.startswith("."):
            raise InvalidName(
                f"the service {self.service!r} begins with a dot",
                hint="Its files would be hidden; let the name begin with a letter.",
            )
        if self.instance:
            _check_part("instance", self.instance)
        if len(str(self)) > 180:
            raise InvalidName(
                f"the log id is {len(str(self))} characters long, 180 are allowed",
                hint="Shorten service, host or instance: a file name has 255 bytes.",
            )

    def __str__(self) -> str:
        instance = f"+{self.instance}" if self.instance else ""
        return f"{self.service}@{self.host}{instance}"

    @classmethod
    def parse(cls, text: str) -> LogId:
        service, at, rest = text.partition("@")
        host, plus, instance = rest.partition("+")
        if not at or (plus and not instance):
            raise InvalidName(
                f"{text!r} is not a log id",
                hint="A log id is service@host or service@host+instance.",
            )
        return cls(service, host, instance)


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """One segment: the log, the UTC day of its records, and the part within that day (from 1).

    >>> SegmentName.parse("queen-rbee@hive1.2026-10-20.0001.ndjson.zst").part
    1

    Raises InvalidName when the text is not such a name.
    """

    log: LogId
    day: dt.date
    part: int
    compression: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.part <= 999_999_999:
            raise InvalidName(f"part {self.part} of {self.log} is outside 1 to 999999999")
        if self.compression not in COMPRESSIONS:
            raise InvalidName(
                f"{self.compression!r} is not a compression; known are '', '.zst', '.gz'"
            )

    def __str__(self) -> str:
        return f"{self.logical}{self.compression}"

    @property
    def logical(self) -> str:
        """The name of the plain form, which proofs, cursors and reports use."""
        return f"{self.log}.{self.day.isoformat()}.{self.part:04d}.ndjson"

    def next_part(self) -> SegmentName:
        """The segment that follows on the same day."""
        return SegmentName(self.log, self.day, self.part + 1)

    @classmethod
    def parse(cls, text: str) -> SegmentName:
        match = _SEGMENT.fullmatch(text)
        if match is None:
            raise InvalidName(f"{text!r} is not a segment name")
        log, day_text, part_text, compression = match.groups()
        try:
            day = _day(day_text)
        except ValueError:
            raise InvalidName(f"{text!r} names a day that does not exist") from None
        name = cls(_log(log), day, int(part_text), compression or "")
        if part_text != f"{name.part:04d}":  # 00001 and 0001 would be two names of one part
            raise InvalidName(f"{text!r} is not how the segment {name} is written")
        return name


# A directory holds thousands of segments of a few logs and a few days.
@lru_cache(maxsize=1024)
def _log(text: str) -> LogId:
    return LogId.parse(text)


@lru_cache(maxsize=4096)
def _day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def is_segment_name(text: str) -> bool:
    """Whether a file of this name belongs to a log; every other file is foreign."""
    try:
        SegmentName.parse(text)
    except InvalidName:
        return False
    return True


def _check_part(label: str, text: str) -> None:
    if _PART.fullmatch(text) and text.strip("."):
        return
    if strange := sorted(set(_STRANGE.findall(text))):
        listed = ", ".join(ascii(character) for character in strange)
        reason = f"the {label} {text!r} contains {listed}"
    else:
        reason = f"the {label} {text!r} is empty or all dots"
    raise InvalidName(reason, hint="Letters, digits, dot, underscore and hyphen are allowed.")
