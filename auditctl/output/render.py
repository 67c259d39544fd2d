"""Format output: data to stdout, messages to stderr, colours on a terminal only.

Text that comes from records is shown with everything unprintable as escapes like ``\\u202e``: a log
that somebody wrote into by hand must not steer the terminal of whoever looks at it.

A terminal's lines are as wide as it is, and so is everything where COLUMNS says how wide; in a pipe
nothing is cut.

Invariants (tests of the same name in tests/auditctl/output/test_render.py):
  plain      without a terminal, or with NO_COLOR, no escape sequence is printed
  harmless   no control or bidi character of a record reaches the terminal
  fits       no line of a record is wider than it may be, and one that was cut says so
  whole      a text that is too wide goes on in the next line, with every word of it
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from auditctl.output.log_lines import escaped
from auditctl.output.messages import write_message
from auditlog.errors import LogDamaged
from auditlog.format.json_text import encoded

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Sequence

    from auditlog.format.record import Record

__all__ = [
    "Colour",
    "bar",
    "bytes_text",
    "clean",
    "count",
    "cut",
    "duration_text",
    "paint",
    "print_json",
    "print_line",
    "print_raw",
    "print_text",
    "record_block",
    "record_line",
    "say",
    "since",
    "table",
    "width",
    "wrapped",
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
_CODE: Final = re.compile(r"\x1b\[[0-9;]*m")
_MIN_WIDTH: Final = 60
_EIGHTHS: Final[tuple[str, ...]] = ("", *"\u258f\u258e\u258d\u258c\u258b\u258a\u2589")
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
    """One line of data; what the terminal's encoding cannot show becomes a question mark."""
    text = _harmless(text)
    try:
        sys.stdout.write(f"{text}\n")
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        sys.stdout.write(f"{text}\n".encode(encoding, "replace").decode(encoding))


def print_text(text: str) -> None:
    """A text, or a row of a table, in as many lines as it needs where the width is known."""
    for line in wrapped(text, width()):
        print_line(line)


def print_raw(line: bytes) -> None:
    """A record as it stands in its file; a terminal gets what deceives as escapes of JSON."""
    if sys.stdout.isatty():
        text = line.decode("utf-8", "backslashreplace")
        line = _deceives().sub(_json_escape, text).encode()
    sys.stdout.buffer.write(line)


def width() -> int | None:
    """The width in columns, at least 60; None in a pipe, where nothing is cut."""
    if os.environ.get("COLUMNS", "").isdigit() or sys.stdout.isatty():
        return max(_MIN_WIDTH, shutil.get_terminal_size().columns)
    return None


def _has_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf16", "utf32")


def cut(text: str, room: int | None) -> str:
    """The text, or as much of its beginning as fits, with a sign that there is more."""
    if room is None or len(text) <= room:
        return text
    sign = "\u2026" if _has_unicode() else "..."
    return text[: max(0, room - len(sign))] + sign


def wrapped(text: str, room: int | None) -> list[str]:
    """Wrap the text to this width.  Words stay whole, so that paths can be copied.

    >>> wrapped("a text of words", 8)
    ['a text', '    of', '    words']
    """
    lines: list[str] = []
    line, *words = text.split(" ")
    for word in words:
        longer = f"{line} {word}"
        if room is not None and line.strip() and len(_CODE.sub("", longer)) > room:
            lines.append(line.rstrip())
            line = "    " + word
        else:
            line = longer
    return [*lines, line]


def bar(value: int, top: int, room: int) -> str:
    """Return a bar in proportion to ``value`` of ``top``; visible for every value above 0."""
    if not value or top <= 0:
        return ""
    if not _has_unicode():
        return "#" * max(1, round(value / top * room))
    eighths = max(1, round(value / top * room * 8))
    return "\u2588" * (eighths // 8) + _EIGHTHS[eighths % 8]


def print_json(value: Any, *, indent: bool = False) -> None:
    """One JSON value on a line of its own, or indented for a terminal."""
    option = orjson.OPT_APPEND_NEWLINE
    if indent and sys.stdout.isatty():
        option |= orjson.OPT_INDENT_2
    text = orjson.dumps(value, option=option).decode()
    sys.stdout.write(_deceives().sub(_json_escape, text) if sys.stdout.isatty() else text)


def say(text: str) -> None:
    """Print one message to stderr, with escapes for what a terminal would obey."""
    write_message(_harmless(text))


def _harmless(text: str) -> str:
    """The text with its colours, line breaks and tabs; all else that deceives as escapes.

    Callers clean what they show of records; this is for those that forgot.
    """
    if text.isprintable():
        return text
    pieces = _CODE.split(text)
    codes = [*_CODE.findall(text), ""]
    return "".join(
        f"{_deceives().sub(_escape, piece)}{code}"
        for piece, code in zip(pieces, codes, strict=True)
    )


@cache
def _deceives() -> re.Pattern[str]:
    """Finds what must not reach a terminal; the rules of redaction come with it, so only now."""
    from auditlog.redaction.visible import DECEIVES  # noqa: PLC0415  (see above)

    return re.compile(rf"\r|{DECEIVES}")


def _escape(match: re.Match[str]) -> str:
    return escaped(match[0])


def _json_escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]  # ASCII, and above U+FFFF a pair of surrogates


def clean(text: str) -> str:
    r"""The text with everything that is not printable as an escape, which can be read back.

    Zero-width and tag characters are not printable either.  A text with an escape in it that was
    recorded so stays as it is.

    >>> clean("ad\u202emin")
    'ad\\u202emin'
    """
    return escaped(text)


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
    """The age as text; the future counts as now."""
    return f"{duration_text(duration)} ago"


def duration_text(duration: dt.timedelta) -> str:
    """In the largest unit of which there are two.

    >>> import datetime as dt
    >>> duration_text(dt.timedelta(hours=30))
    '30 h'
    """
    seconds = max(0, int(duration.total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


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


def record_line(record: Record, room: int | None = None) -> str:
    """Format a record on one line: time, log, number, event, actor, resource, outcome.

    With ``room`` it is cut to so many columns.
    """
    parts = [(text, colour) for text, colour in _parts(record) if text]
    shown = cut(" ".join(text for text, _ in parts), room)
    painted: list[str] = []
    for text, colour in parts:
        here, shown = shown[: len(text)], shown[len(text) :]
        if shown[:1] not in ("", " "):  # the sign that it was cut stands where a space was
            here, shown = here + shown, ""
        shown = shown[1:]
        if here:
            painted.append(paint(here, colour) if colour else here)
    return " ".join(painted)


def _parts(record: Record) -> Iterator[tuple[str, Colour | None]]:
    try:
        fields = record.fields
    except LogDamaged:  # its frame is a record's, what is inside was changed
        fields = {"outcome": "not valid JSON"}
    actor, resource = _mapping(fields.get("actor")), _mapping(fields.get("resource"))
    outcome, reason = str(fields.get("outcome", "")), fields.get("reason")
    severity = str(fields.get("severity", ""))
    colour = _SEVERITIES.get(severity)
    yield record.header.timestamp[:-4].replace("T", " ") + "Z", "dim"
    yield f"{record.log}#{record.seq}", "cyan"
    # The colour repeats what the words say.
    yield f"{record.event_type}[{severity}]" if colour else record.event_type, colour or "bold"
    yield clean(str(actor.get("user_id", ""))), None
    if resource:
        kind, name = resource.get("resource_type", ""), resource.get("resource_id", "")
        yield clean(f"{kind}/{name}"), None
    ending = clean(f"{outcome}: {reason}" if reason else outcome)
    yield ending, "red" if outcome in ("failure", "denied") else None
    for key, value in _mapping(fields.get("details")).items():
        yield clean(f"{key}={_value(value)}"), "dim"


def record_block(record: Record) -> list[str]:
    """Format a record in full, with a line for each value."""
    lines = [record_line(record)]
    try:
        leaves = [*_leaves(record.fields)]
    except LogDamaged:
        return lines
    names = max(len(name) for name, _ in leaves)
    for name, value in leaves:
        text = f"    {clean(name).ljust(names)}  {clean(value)}"
        lines.append(paint(text, "dim") if name in ("hash", "prev_hash") else text)
    return lines


def _leaves(fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    rest = [*reversed(fields.items())]
    while rest:
        path, value = rest.pop()
        if isinstance(value, dict) and value:
            rest += [(f"{path}.{key}", inner) for key, inner in reversed(value.items())]
        else:
            yield path, value if isinstance(value, str) and value else encoded(value).decode()


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value if value and " " not in value else f'"{value}"'
    return encoded(value).decode()
