"""The JSON Schema (draft 2020-12) of a record, made of the event types themselves.  Pure.

    python -m auditlog.events.schema > docs/schema/record.schema.json

It describes what typed events and the log itself write.  ``details`` may always hold more than the
fields of its type: what the caller or the context added.  A free event type may hold anything; an
event by a name of the vocabulary without all of its fields is one that the schema does not know.

Invariants (tests of the same name in tests/auditlog/events/test_schema.py):
  current    docs/schema/record.schema.json is what this prints
  accepts    every record written, of every type, is valid
  rejects    a record that lacks a member, has a strange one or a wrong value is not
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import orjson

from auditlog.events.actor import AUTH_METHODS, OUTCOMES, SEVERITIES
from auditlog.events.base import Event
from auditlog.events.vocabulary import EVENT_TYPES

__all__ = ["KIND_SCHEMAS", "record_schema", "render"]

_NAME: Final[dict[str, Any]] = {"type": "string", "minLength": 1}
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_COUNT: Final[dict[str, Any]] = {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}
_HASH: Final[dict[str, Any]] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_IP: Final[dict[str, Any]] = {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
_INSTANT: Final[dict[str, Any]] = {
    "type": "string",
    "format": "date-time",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,6})?Z$",
}
_TIMESTAMP: Final[dict[str, Any]] = {
    "type": "string",
    "format": "date-time",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$",
}
_PART: Final = "[A-Za-z0-9._-]+"

KIND_SCHEMAS: Final[Mapping[str, dict[str, Any]]] = {
    "Id": _NAME,
    "Label": _NAME,
    "Text": _TEXT,
    "Digest": {
        "type": "string",
        "pattern": "^([a-z0-9][a-z0-9-]{0,15}:)?[0-9a-fA-F]{8,128}$",
    },
    "Address": _IP,
    "Count": _COUNT,
    "Number": {"type": "number", "minimum": 0, "maximum": 2**64 - 1},
    "bool": {"type": "boolean"},
    "Instant": _INSTANT,
    "Labels": {"type": "array", "items": _TEXT},
    "Changes": {"type": "object"},
}
"""What the values of each kind of field are in a record."""

_LOGS_OWN: Final[Mapping[str, dict[str, Any]]] = {
    "log.segment_opened": {
        "previous_segment": {"type": ["string", "null"]},
        "previous_bytes": _COUNT,
        "previous_hash": _HASH,
    },
    "log.opened": {"pid": _COUNT, "flush": {"enum": ["immediate", "batched", "hybrid"]}},
    "log.recovered": {
        "segment": _NAME,
        "offset": _COUNT,
        "bytes": _COUNT,
        "sha256": _HASH,
        "kept": _NAME,
    },
    "log.clock_stepped": {"step_seconds": {"type": "number"}, "clock_at": _TIMESTAMP},
    "log.events_refused": {"count": {"type": "integer", "minimum": 1}},
    "log.space_low": {"level": {"enum": ["low", "critical"]}, "free_bytes": _COUNT},
    "log.closed": {},
}
_SOMETIMES: Final = frozenset({"previous_bytes", "previous_hash"})  # not in a log's first record


def record_schema() -> dict[str, Any]:
    """The schema, as a JSON object."""
    definitions: dict[str, Any] = {
        "actor": {
            "description": "Who acted.",
            "type": "object",
            "properties": {
                "user_id": _NAME,
                "ip": _IP,
                "auth_method": {"enum": list(AUTH_METHODS)},
                "session_id": _NAME,
            },
            "required": ["user_id"],
            "additionalProperties": False,
        },
        "resource": {
            "description": "What was acted on.",
            "type": "object",
            "properties": {"resource_type": _NAME, "resource_id": _NAME, "parent_id": _NAME},
            "required": ["resource_type", "resource_id"],
            "additionalProperties": False,
        },
    }
    cases = []
    for event_type, event in sorted(EVENT_TYPES.items()):
        definitions[event_type] = _details_of(event)
        needs_details = any(field.required for field in event.own_fields)
        cases.append(_case(event_type, details=needs_details, resource=event.names is not None))
    for event_type, fields in _LOGS_OWN.items():
        definitions[event_type] = {
            "type": "object",
            "properties": fields,
            "required": [name for name in fields if name not in _SOMETIMES],
            "additionalProperties": False,
        }
        cases.append(_case(event_type, details=bool(fields), resource=False))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:llama-orch:auditlog:record:1",
        "title": "A record of an audit log, version 1",
        "description": "One line of a segment."
        " Made by python -m auditlog.events.schema; do not edit.",
        "type": "object",
        "properties": _members(),
        "required": [
            *("v", "log", "seq", "prev_hash", "@timestamp", "event_type", "service", "host"),
            *("outcome", "severity", "hash"),
        ],
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"event_type": {"pattern": "^log\\."}}},
                "then": {"properties": {"event_type": {"enum": list(_LOGS_OWN)}}},
            },
            *cases,
        ],
        "$defs": definitions,
    }


def render() -> bytes:
    """The schema as it is committed: indented by two, with a LF at the end."""
    return orjson.dumps(record_schema(), option=orjson.OPT_INDENT_2) + b"\n"


def _members() -> dict[str, Any]:
    """In the order of the record."""
    return {
        "v": {"const": 1},
        "log": {"type": "string", "pattern": f"^{_PART}@{_PART}(\\+{_PART})?$"},
        "seq": {"type": "integer", "minimum": 1},
        "prev_hash": _HASH,
        "@timestamp": _TIMESTAMP,
        "event_type": {"type": "string", "pattern": "^[a-z][a-z0-9_.]{0,63}$"},
        "service": {"type": "string", "pattern": f"^{_PART}$"},
        "host": {"type": "string", "pattern": f"^{_PART}$"},
        "actor": {"$ref": "#/$defs/actor"},
        "resource": {"$ref": "#/$defs/resource"},
        "outcome": {"enum": list(OUTCOMES)},
        "reason": _TEXT,
        "severity": {"enum": list(SEVERITIES)},
        "correlation_id": _TEXT,
        "details": {"type": "object"},
        "hash": _HASH,
    }


def _details_of(event: type[Event]) -> dict[str, Any]:
    return {
        "description": (event.__doc__ or "").partition("\n")[0],
        "type": "object",
        "properties": {field.name: KIND_SCHEMAS[field.kind_name] for field in event.own_fields},
        "required": [field.name for field in event.own_fields if field.required],
    }


def _case(event_type: str, *, details: bool, resource: bool) -> dict[str, Any]:
    """What holds for the records of one type."""
    required = [
        *(["details"] if details else []),
        *(["resource"] if resource else []),
    ]
    then: dict[str, Any] = {"properties": {"details": {"$ref": f"#/$defs/{event_type}"}}}
    if required:
        then["required"] = required
    return {
        "if": {"properties": {"event_type": {"const": event_type}}, "required": ["event_type"]},
        "then": then,
    }


if __name__ == "__main__":
    sys.stdout.buffer.write(render())
