"""Convert one line of another program to a document.  Pure.

A line that is a JSON object is the document, byte for byte, its keys at the root; its provenance
goes in front, under ``auditlog.source``.  Any other line is kept under ``message``, and
``auditlog.source.error`` says why.  An object that no index can hold at its root (hundreds of
members, a blank name, a name that belongs to the index or to us) is kept whole under
``auditlog.fields``.

``@timestamp`` is the line's own time, else the time of reading.  Its value in the line is replaced
only if an index would read it otherwise (a number, a text with a blank) or not at all; the line's
own value is then in ``auditlog.source.timestamp``.

Invariants (tests of the same name in tests/shippers/sources/ndjson/test_line.py):
  verbatim    the members of an object are in the document as they are in the line
  never_lost  any bytes whatever give a document that is valid JSON
  identity    the id depends on source, host, first line, offset and line, and on nothing else
  redacted    with a redactor no secret of a line is in its document, and its id is the same
  no_clash    what is added never takes the place of what the line has
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from auditlog.errors import InvalidEvent
from auditlog.format.foreign_files import EARLIEST, instant_of, value_at
from auditlog.format.record import format_timestamp
from auditlog.redaction.number_spelling import with_numbers_of
from auditlog.redaction.redactor import Redactor
from shippers.item import Document, content_id

__all__ = ["Line", "LineFormat", "to_document"]

_BOM: Final = b"\xef\xbb\xbf"
_RFC_3339: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_AHEAD: Final = dt.timedelta(days=1)
_MANY_MEMBERS: Final = 300  # so many new fields of one line would use up the limit of an index
_BLANK_NAME: Final = re.compile(rb'"[\s.]*"\s*:')
_INDEX_NAMES: Final = frozenset(  # metadata fields: a document that has one is refused
    {
        "_data_stream_timestamp",
        "_doc_count",
        "_feature",
        "_field_names",
        "_id",
        "_ignored",
        "_ignored_source",
        "_index",
        "_index_mode",
        "_nested_path",
        "_primary_term",
        "_routing",
        "_seq_no",
        "_source",
        "_tier",
        "_tsid",
        "_type",
        "_version",
    }
)
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\]:,]')


@dataclass(frozen=True, slots=True)
class LineFormat:
    """How the lines of a source become documents.

    ``timestamp_field`` is a member, or a path of members joined by dots, that has the time of the
    event: RFC 3339 (without a zone it is UTC), or seconds, milliseconds, microseconds or
    nanoseconds since 1970.
    """

    source: str
    host: str
    timestamp_field: str = "@timestamp"
    redactor: Redactor | None = None
    """Takes secrets out of the lines; a line without one stays byte for byte."""


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
    content = line.content if line.offset else line.content.removeprefix(_BOM)
    value, error_type, error_text = _parse(content, line)
    if form.redactor is not None:
        try:
            content, value = _redacted(content, value, form.redactor)
        except InvalidEvent:  # nested deeper than redaction looks, so it does not leave the host
            content, value = b"[redacted: the line is nested too deeply to be looked at]", None
            error_type, error_text = "redaction", "the line is nested too deeply to be redacted"
    source: dict[str, Any] = {
        "name": form.source,
        "host": form.host,
        "path": line.path.encode("utf-8", "backslashreplace").decode(),
        "offset": line.offset,
    }
    body, at = b"", format_timestamp(read_at)
    shown, has_own, added = at, False, dict[str, Any]()
    if value is None:
        source["error"] = {"type": error_type, "message": error_text}
        added["message"] = content.decode("utf-8", "backslashreplace")
    else:
        body = content.strip()
        given, instant = _time_of(value, form.timestamp_field, read_at)
        if instant is not None:
            at = shown = format_timestamp(instant)
            if isinstance(given, str) and _RFC_3339.fullmatch(given):
                shown = given  # as precise as it is, and in its own zone
        elif given is not None:
            text = "the time of the line is not understood; @timestamp is the time of reading"
            source["error"] = {"type": "timestamp", "message": text}
        has_own = "@timestamp" in value
        if has_own and (own := value["@timestamp"]) != shown:
            spans = _timestamps(body)
            source["timestamp"] = own if isinstance(own, str) else body[slice(*spans[-1])].decode()
            body = _replaced(body, spans, f'"{shown}"'.encode())
    added["auditlog"] = {"source": source}
    if value is not None and _is_unfit(value, body):
        opened = orjson.dumps({"@timestamp": shown, **added})[:-2]  # neither object is closed
        document = b'%b,"fields":%b}}' % (opened, body)
    else:
        front = orjson.dumps(added if has_own else {"@timestamp": shown, **added})
        document = front[:-1] + b"," + body[1:] if value else front
    identity = content_id(form.source, form.host, line.first_hash, str(line.offset), line.digest)
    return Document(form.source, identity, at, document + b"\n"), error_type


def _redacted(
    content: bytes, value: dict[str, Any] | None, redactor: Redactor
) -> tuple[bytes, dict[str, Any] | None]:
    """The line and its object without secrets; an object that had one is written anew."""
    if value is None:
        text = content.decode("utf-8", "backslashreplace")
        cleaned = redactor.text(text, "the line")
        return content if cleaned == text else cleaned.encode(), None
    text = content.decode()
    made = redactor.clean(value, "the line")
    # A name may stand there twice: then only the last one is in the object.
    if made == value and not redactor.explain(text):
        return content, value
    return with_numbers_of(text, made), made


def _parse(content: bytes, line: Line) -> tuple[dict[str, Any] | None, str, str]:
    if line.cut:
        text = f"the line of {line.size_bytes} bytes was cut to {len(line.content)}"
        return None, "truncated", text
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return None, "utf-8", f"the line is not UTF-8 at its byte {error.start}"
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        return None, "json", f"the line is not valid JSON: {error.msg} (at character {error.pos})"
    if not isinstance(value, dict):
        return None, "json", "the line is JSON, but not an object"
    return value, "", ""


def _time_of(
    value: dict[str, Any], field: str, read_at: dt.datetime
) -> tuple[Any, dt.datetime | None]:
    """The value that has the line's time, and the instant; None if it is not understood.

    A time before 2000 or more than a day ahead is not the time of an event: each such day would
    be an index of its own.
    """
    own = value.get("@timestamp")
    given = own if own is not None else value_at(value, field)
    instant = instant_of(given)
    if instant is None or not EARLIEST <= instant <= read_at + _AHEAD:
        return given, None
    return given, instant


def _is_unfit(value: dict[str, Any], body: bytes) -> bool:
    """Whether an index cannot hold the object's members at its root."""
    if body.count(b'":') > _MANY_MEMBERS or _BLANK_NAME.search(body) is not None:
        return True
    return any(
        name in _INDEX_NAMES or name == "auditlog" or name.startswith("auditlog.") for name in value
    )


def _timestamps(body: bytes) -> list[tuple[int, int]]:
    """Begin and end of the value of each ``@timestamp`` of a valid object, however deep it is."""
    spans, depth, name, begin = list[tuple[int, int]](), 0, b"", -1
    for token in _TOKEN.finditer(body):
        kind = token[0][:1]
        if depth == 1 and kind in b",}" and begin >= 0:
            value = body[begin : token.start()]
            end = token.start() - len(value) + len(value.rstrip())
            spans.append((end - len(value.strip()), end))
            begin = -1
        if kind in b"{[":
            depth += 1
        elif kind in b"}]":
            depth -= 1
        elif depth == 1 and kind == b'"':
            name = token[0]
        elif depth == 1 and kind == b":" and orjson.loads(name) == "@timestamp":
            begin = token.end()
    return spans


def _replaced(body: bytes, spans: list[tuple[int, int]], value: bytes) -> bytes:
    """The object with this value at the spans; every other byte stays."""
    pieces, done = list[bytes](), 0
    for begin, end in spans:
        pieces += [body[done:begin], value]
        done = end
    return b"".join([*pieces, body[done:]])
