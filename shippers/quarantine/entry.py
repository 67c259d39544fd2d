"""Encode and decode quarantine entries, one JSON object per line.  Pure.

Invariants (tests of the same name in tests/shippers/quarantine/test_entry.py):
  round_trip   what was encoded is decoded, whatever bytes the line holds
  refused      a line that is not an entry raises ValueError
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import orjson

from auditlog.format.record import format_timestamp, parse_header
from auditlog.format.segment_names import SegmentName
from shippers.item import Document, Item, Shipment

if TYPE_CHECKING:
    import datetime as dt

__all__ = ["Entry", "Place", "StoredEntry", "decode", "encode", "entry_id"]

_SOURCE: Final = '"auditlog":{"source":'

Place = tuple[SegmentName | None, int, str]
"""Segment, offset, and which of the entries there can be at that place."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record or document that is to be entered, or one alarm (then ``line`` is None).

    kind             refused, tampered, not_a_record, or chain_break for an alarm about the log
    reason           one sentence; ``server_message`` is the sink's own words, ``status`` its code
    segment, offset  where the line begins: logical name, bytes in the uncompressed segment
    document         what was refused, if it is not a record; ``log`` names its source then, and
                     ``line`` is its body
    """

    kind: str
    reason: str
    log: str
    segment: str
    offset: int
    seq: int | None = None
    status: int | None = None
    server_message: str = ""
    line: bytes | None = None
    document: Document | None = None

    @property
    def key(self) -> tuple[str, Place | str]:
        """Identity by which two entries about the same item are recognised."""
        if self.document is not None:
            return self.log, self.document.id
        return self.log, _place(self.segment, self.offset, self.kind, self.reason)


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One entry as it stands in the file; ``id`` is a hash of its bytes, for people to name it."""

    id: str
    fields: dict[str, Any]

    @property
    def alarm(self) -> bool:
        """Whether it reports tampering or an invalid line, rather than a refusal by a sink."""
        return bool(self.fields["kind"] != "refused")

    @property
    def line(self) -> bytes | None:
        """The record's line, or the document's body; None for an alarm."""
        if "line_base64" in self.fields:
            return base64.b64decode(self.fields["line_base64"])
        line = self.fields.get("line")
        return None if line is None else str(line).encode()

    @property
    def place(self) -> str:
        """Segment or path of its line, with the offset in bytes; "" if not known."""
        if self.fields.get("segment"):
            return f"{self.fields['segment']}:{self.fields['offset']}"
        # The rest may be nested too deeply to be parsed, which can be why it was refused.
        _, _, rest = (self.line or b"").decode("utf-8", "replace").partition(_SOURCE)
        try:
            source, _ = json.JSONDecoder().raw_decode(rest)
            return f"{source['path']}:{source['offset']}"
        except (ValueError, KeyError, TypeError):  # of the journal, or of an older version
            return ""

    @property
    def item(self) -> Item | None:
        """The item to deliver again; None for an alarm and for a line that is not a record."""
        line, named = self.line, self.fields.get("document")
        if line is None:
            return None
        if named is not None:
            return Document(named["source"], named["id"], named["at"], line)
        header = parse_header(line)
        return None if header is None else Shipment(line, header)

    @property
    def key(self) -> tuple[str, Place | str]:
        """As the entry's."""
        log, document = self.fields["log"], self.fields.get("document")
        if document is not None:
            return log, str(document["id"])
        at = self.fields["segment"], self.fields["offset"]
        return log, _place(*at, self.fields["kind"], self.fields["reason"])


def encode(entry: Entry, sink: str, now: dt.datetime) -> bytes:
    """The entry's line."""
    fields: dict[str, Any] = {
        "v": 1,
        "at": format_timestamp(now),
        "sink": sink,
        "kind": entry.kind,
        "reason": entry.reason,
        "status": entry.status,
        "server_message": entry.server_message.encode("utf-8", "replace").decode(),
        "log": entry.log,
        "segment": entry.segment,
        "offset": entry.offset,
        "seq": entry.seq,
    }
    if entry.document is not None:
        source, document_id, at, _ = entry.document
        fields["document"] = {"source": source, "id": document_id, "at": at}
    if entry.line is not None:
        try:
            fields["line"] = entry.line.decode()
        except UnicodeDecodeError:
            fields["line_base64"] = base64.b64encode(entry.line).decode()
    return orjson.dumps(fields) + b"\n"


def decode(line: bytes) -> StoredEntry:
    """Raises ValueError for a line that is not an entry."""
    fields = orjson.loads(line)
    if not isinstance(fields, dict):
        raise ValueError("not an object")  # noqa: TRY004  (the content is wrong, not a call)
    stored = StoredEntry(entry_id(line), fields)
    texts = ("kind", "log", "reason", "segment")
    if not all(isinstance(fields.get(name), str) for name in texts):
        raise ValueError(f"not a text: one of {', '.join(texts)}")
    if type(fields.get("offset")) is not int:
        raise ValueError("not a number: offset")
    document = fields.get("document", {"source": "", "id": "", "at": ""})
    if not isinstance(document, dict) or not document.keys() >= {"source", "id", "at"}:
        raise ValueError("the document is incomplete")
    return stored


def entry_id(line: bytes) -> str:
    """The id of the entry that this line holds."""
    return sha256(line).hexdigest()[:16]


def _place(segment: str, offset: int, kind: str, reason: str) -> Place:
    # An alarm and a record can be at one place, and a place can have two alarms.
    which = f"{kind}: {reason}" if kind == "chain_break" else "record"
    return SegmentName.parse(segment) if segment else None, offset, which
