"""How things look: data on stdout, talk on stderr, colours on a terminal only.

Text that comes from records is shown with everything unprintable replaced: a log that somebody
wrote into by hand must not steer the terminal of whoever looks at it.

Invariants (tests of the same name in tests/auditctl/test_render.py):
  plain      without a terminal, or with NO_COLOR, no escape sequence is printed
  harmless   no control or bidi character of a record reaches the terminal
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from auditlog.errors import LogDamaged

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from auditlog.record import Record

__all__ = [
    "Colour",
    "bytes_text",
    "clean",
    "count",
    "paint",
    "print_json",
    "print_line",
    "record_line",
    "say",
    "since",
    "table",
]

Colour = Literal["red", "yellow", "green", "cyan", "dim", "bold"]

_CODES: Final[dict[Colour, str]] = {
    "red": "31",
    "yellow": "33",
    "green": "32",
    "cyan": "36",
    "dim": "2",
    "bold": "1",
}
_SEVERITIES: Final[dict[str, Colour]] = {
    "warning": "yellow",
    "error": "red",
    "critical": "red",
}


def paint(text: str, colour: Colour) -> str:
    """Colour a text for stdout, where that is a terminal and NO_COLOR (no-color.org) is not set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def print_line(text: str = "") -> None:
    """One line of data."""
    sys.stdout.write(f"{text}\n")


def print_json(value: Any, *, indent: bool = False) -> None:
    """One JSON value on a line of its own, or indented for a terminal."""
    option = orjson.OPT_APPEND_NEWLINE
    if indent and sys.stdout.isatty():
        option |= orjson.OPT_INDENT_2
    sys.stdout.write(orjson.dumps(value, option=option).decode())


def say(text: str) -> None:
    """One line of talk."""
    sys.stderr.write(f"{text}\n")


def clean(text: str) -> str:
    """The text with everything that is not printable as U+FFFD."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def count(number: int, noun: str, plural: str = "") -> str:
    """
    >>> count(1, "segment"), count(12000, "record")
    ('1 segment', '12,000 records')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def bytes_text(size_bytes: int) -> str:
    """
    >>> bytes_text(512), bytes_text(3 << 19)
    ('512 B', '1.5 MiB')
    """
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def since(duration: dt.timedelta) -> str:
    """How long ago, in the largest unit of which there are two; the future counts as now."""
    seconds = max(0, int(duration.total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def table(rows: Iterable[Sequence[str]], *, indent: str = "") -> list[str]:
    """Rows as lines with aligned columns; the last column is as long as it is."""
    rows = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        indent
        + "  ".join(
            cell.ljust(width) for cell, width in zip(row, (*widths[:-1], 0), strict=True)
        ).rstrip()
        for row in rows
    ]


def record_line(record: Record) -> str:
    """One record for people: when, which log, number, what, who, on what, how it ended."""
    try:
        fields = record.fields
    except LogDamaged:  # its frame is a record's, what is inside was changed
        fields = {"outcome": "not valid JSON"}
    actor, resource = _mapping(fields.get("actor")), _mapping(fields.get("resource"))
    outcome, reason = str(fields.get("outcome", "")), fields.get("reason")
    parts = [
        paint(record.header.timestamp[:-4].replace("T", " ") + "Z", "dim"),
        paint(f"{record.log}#{record.seq}", "cyan"),
        _painted_type(record.event_type, str(fields.get("severity", ""))),
    ]
    if "user_id" in actor:
        parts.append(clean(str(actor["user_id"])))
    if resource:
        parts.append(
            clean(f"{resource.get('resource_type', '')}/{resource.get('resource_id', '')}")
        )
    ending = clean(f"{outcome}: {reason}" if reason else outcome)
    parts.append(paint(ending, "red") if outcome == "failure" else ending)
    for key, value in _mapping(fields.get("details")).items():
        parts.append(paint(clean(f"{key}={_value(value)}"), "dim"))
    return " ".join(part for part in parts if part)


def _painted_type(event_type: str, severity: str) -> str:
    colour = _SEVERITIES.get(severity)
    if colour is None:
        return paint(event_type, "bold")
    return paint(f"{event_type}[{severity}]", colour)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value if value and " " not in value else f'"{value}"'
    return orjson.dumps(value).decode()
