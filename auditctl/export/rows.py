"""Single records for other programs: a row of a table, or the names of ECS.  Pure.

A CSV is for looking at.  A cell that a spreadsheet would run as a formula gets an apostrophe in
front, as OWASP advises, so it is not the record byte for byte; only NDJSON is.

Invariants (tests of the same name in tests/auditctl/export/test_rows.py):
  harmless   no cell begins with = + - @ or a control character
  ecs        every name is one of the Elastic Common Schema or lies below auditlog
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from auditctl.query.predicate import values_at

if TYPE_CHECKING:
    from auditlog.format.record import Record

__all__ = ["COLUMNS", "ecs", "row", "value"]

COLUMNS: Final = (
    "@timestamp", "log", "seq", "event_type", "outcome", "reason", "severity", "actor.user_id",
    "actor.ip", "actor.auth_method", "actor.session_id", "resource.resource_type",
    "resource.resource_id", "resource.parent_id", "correlation_id", "details", "hash",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_NAMES: Final = {
    "event_type": ("event", "action"),
    "seq": ("event", "sequence"),
    "hash": ("event", "hash"),
    "outcome": ("event", "outcome"),
    "reason": ("event", "reason"),
    "service": ("service", "name"),
    "host": ("host", "name"),
    "actor.user_id": ("user", "id"),
    "actor.ip": ("source", "ip"),
    "correlation_id": ("trace", "id"),
    "severity": ("log", "level"),
}
_OWN: Final = ("log", "prev_hash", "details", "resource", "actor.auth_method", "actor.session_id")
_OUTCOMES: Final = {"success": "success", "failure": "failure"}


def row(record: Record) -> list[str]:
    """The record's cells, in the order of COLUMNS.  Raises LogDamaged for one that is no JSON."""
    return [_cell(value(record, column)) for column in COLUMNS]


def ecs(record: Record) -> dict[str, Any]:
    """The record in ECS names; what ECS has no name for is below ``auditlog``, unchanged."""
    document: dict[str, Any] = {"@timestamp": record.header.timestamp, "ecs": {"version": "8.11.0"}}
    for field, (group, name) in _NAMES.items():
        if (found := value(record, field)) is not None:
            document.setdefault(group, {})[name] = found
    outcome = document.get("event", {}).get("outcome")
    document["event"]["outcome"] = _OUTCOMES.get(str(outcome), "unknown")
    document["event"]["kind"] = "event"
    own: dict[str, Any] = {"outcome": outcome}
    for field in _OWN:
        if (found := value(record, field)) is not None:
            own[field.rpartition(".")[2]] = found
    document["auditlog"] = own
    return document


def value(record: Record, field: str) -> Any:
    """What stands there, None where nothing does.  Raises LogDamaged as row."""
    fields = record.fields
    return fields[field] if field in fields else next(values_at(fields, field), None)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return f"'{text}" if text.startswith(_FORMULA) and isinstance(value, str) else text
