"""Make a document of one line that another program wrote.  Pure.

A line that is a JSON object is the document, byte for byte, with what we know of it put in front
where its keys leave room (as Filebeat's json.keys_under_root).  Any other line is kept under
``message``, with ``error.message`` and ``error.type`` saying why (as json.add_error_key).

Its ``@timestamp`` is the line's own where it has one, else when it was read.

Invariants (tests of the same name in tests/shippers/sources/ndjson/test_line.py):
  verbatim    the members of an object are in the document as they are in the line
  never_lost  any bytes whatever give a document that is valid JSON
  identity    the id depends on source, host, first line, offset and line, and on nothing else
  no_clash    what is added never takes the place of what the line has
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from auditlog.format.foreign_files import EARLIEST, instant_of, value_at
from auditlog.format.record import format_timestamp
from shippers.item import Document, content_id

__all__ = ["Line", "LineFormat", "to_document"]

_RFC_3339: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_AHEAD: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class LineFormat:
    """How the lines of a source become documents.

    ``timestamp_field`` is a member, or a path of members joined by dots, that has the time of the
    event: RFC 3339 (without a zone it is UTC), or seconds or milliseconds since 1970.
    """

    source: str
    host: str
    timestamp_field: str = "@timestamp"


class Line(NamedTuple):
    """``content`` without its LF; of a line that was cut its beginning.

    ``digest`` is line_hash of the whole line, ``size_bytes`` its length; ``first_hash`` the
    file's first line's.
    """

    path: str
    first_hash: str
    offset: int
    content: bytes
    digest: str
    size_bytes: int

    @property
    def cut(self) -> bool:
        return self.size_bytes > len(self.content)


def to_document(line: Line, form: LineFormat, read_at: dt.datetime) -> tuple[Document, str]:
    """The document, and what is wrong with the line: "", "json", "utf-8" or "truncated"."""
    value, error_type, error_text = _parse(line)
    added: dict[str, Any] = {}
    if isinstance(value, dict):
        at, shown = _timestamp(value, form.timestamp_field, read_at)
        if "@timestamp" not in value:
            added["@timestamp"] = shown
    else:
        value, at = {}, format_timestamp(read_at)
        added = {
            "@timestamp": at,
            "message": line.content.decode("utf-8", "backslashreplace"),
            "error": {"message": error_text, "type": error_type},
        }
    added |= _provenance(value, line, form.host)
    body = orjson.dumps(added)
    if value:
        body = body[:-1] + (b"," if len(body) > 2 else b"") + line.content.strip()[1:]
    identity = content_id(form.source, form.host, line.first_hash, str(line.offset), line.digest)
    return Document(form.source, identity, at, body + b"\n"), error_type


def _parse(line: Line) -> tuple[Any, str, str]:
    if line.cut:
        text = f"the line of {line.size_bytes} bytes was cut to {len(line.content)}"
        return None, "truncated", text
    try:
        line.content.decode("utf-8")
    except UnicodeDecodeError as error:
        return None, "utf-8", f"the line is not UTF-8 at its byte {error.start}"
    try:
        value = orjson.loads(line.content)
    except orjson.JSONDecodeError as error:
        return None, "json", f"the line is not valid JSON: {error.msg} (at character {error.pos})"
    if not isinstance(value, dict):
        return None, "json", "the line is JSON, but not an object"
    return value, "", ""


def _provenance(value: dict[str, Any], line: Line, host: str) -> dict[str, Any]:
    """Where the line comes from, under the names of the Elastic Common Schema that are free."""
    added: dict[str, Any] = {}
    if _free(value, "host"):
        added["host"] = {"name": host}
    if _free(value, "log"):
        path = line.path.encode("utf-8", "backslashreplace").decode()
        added["log"] = {"file": {"path": path}, "offset": line.offset}
        if line.cut:
            added["log"]["flags"] = ["truncated"]
    return added


def _free(value: dict[str, Any], name: str) -> bool:
    return not any(key == name or key.startswith(f"{name}.") for key in value)


def _timestamp(value: dict[str, Any], field: str, read_at: dt.datetime) -> tuple[str, str]:
    """When it happened, in UTC, to choose the day by; and how the document shows it.

    What is before 2000 or more than a day ahead is no time of an event: every such day would be
    an index of its own.
    """
    own = value.get("@timestamp")
    given = own if own is not None else value_at(value, field)
    instant = instant_of(given)
    if instant is None or not EARLIEST <= instant <= read_at + _AHEAD:
        now = format_timestamp(read_at)
        return now, now
    at = format_timestamp(instant)
    return at, given if isinstance(given, str) and _RFC_3339.fullmatch(given) else at
