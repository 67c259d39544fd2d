"""Convert a record to a table row, or to ECS field names.  Pure.

A CSV is for looking at.  A cell that a spreadsheet would run as a formula gets an apostrophe in
front, as OWASP advises, so it is not the record byte for byte; only NDJSON is.

Invariants (tests of the same name in tests/auditctl/export/test_rows.py):
  harmless   no cell begins with = + - @ or a control character
  ecs        every name is one of the Elastic Common Schema or lies below auditlog
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from auditlog.events.members import leaves, members
from auditlog.format.json_text import encoded
from auditlog.query.predicate import values_at

if TYPE_CHECKING:
    from auditlog.format.record import Record

__all__ = ["COLUMNS", "ecs", "row", "value"]

_MEMBERS: Final = {member.path: member for member in leaves(members())}
_FIRST: Final = ("@timestamp", "log", "seq", "event_type", "outcome", "reason", "severity")
_NO_COLUMN: Final = ("v", "prev_hash", "service", "host")
COLUMNS: Final = (*_FIRST, *(path for path in _MEMBERS if path not in (*_FIRST, *_NO_COLUMN)))
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_OUTCOMES: Final = {"success": "success", "failure": "failure", "denied": "failure"}


def row(record: Record) -> list[str]:
    """Return the cells in the order of COLUMNS.  Raises LogDamaged for a line that is not JSON."""
    return [_cell(value(record, column)) for column in COLUMNS]


def ecs(record: Record) -> dict[str, Any]:
    """Return the record in ECS names; what ECS has no name for is below ``auditlog``, unchanged."""
    document: dict[str, Any] = {
        "@timestamp": record.header.timestamp,
        "ecs": {"version": "8.11.0"},
        "event": {"kind": "event"},
    }
    own: dict[str, Any] = {}
    for path, member in _MEMBERS.items():
        if path in ("v", "@timestamp") or (found := value(record, path)) is None:
            continue
        if member.ecs is None or path == "outcome":
            _put(own, path.removeprefix("actor."), found)
        if member.ecs is not None:
            _put(document, member.ecs, found)
    document["event"]["outcome"] = _OUTCOMES.get(str(own.get("outcome")), "unknown")
    document["auditlog"] = own
    return document


def value(record: Record, field: str) -> Any:
    """Return the value at the path, or None.  Raises LogDamaged for a line that is not JSON."""
    fields = record.fields
    return fields[field] if field in fields else next(values_at(fields, field), None)


def _put(document: dict[str, Any], path: str, found: Any) -> None:
    *groups, name = path.split(".")
    for group in groups:
        document = document.setdefault(group, {})
    document[name] = found


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else encoded(value).decode()
    return f"'{text}" if text.startswith(_FORMULA) and isinstance(value, str) else text
