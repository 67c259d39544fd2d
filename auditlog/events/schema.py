"""Generate the JSON Schema (draft 2020-12) of a record from the event types.  Pure.

    python -m auditlog.events.schema > docs/schema/record.schema.json

It describes what typed events and the log itself write.  ``details`` may always hold more than the
fields of its type: what the caller or the context added.  A free event type may hold anything; an
event by a name of the vocabulary without all of its fields is one that the schema does not know.
The stub of an erased record (auditlog.format.record) is not a record; ``$defs`` has it as ``stub``.

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

from auditlog.events.actor import Actor, Resource
from auditlog.events.base import Event
from auditlog.events.field_kinds import KINDS
from auditlog.events.members import HASH_SCHEMA, TIMESTAMP_SCHEMA, Member, members
from auditlog.events.vocabulary import EVENT_TYPES
from auditlog.format.record import RECORD_ERASED

__all__ = ["record_schema", "render"]

_NAME: Final = KINDS["Id"].schema
_COUNT: Final = KINDS["Count"].schema

_LOGS_OWN: Final[Mapping[str, Mapping[str, Any]]] = {
    "log.segment_opened": {
        "previous_segment": {"type": ["string", "null"]},
        "previous_bytes": _COUNT,
        "previous_hash": HASH_SCHEMA,
    },
    "log.opened": {
        "pid": _COUNT,
        "flush": {"enum": ["immediate", "batched", "hybrid"]},
        "predecessor": _NAME,
        "predecessor_seq": _COUNT,
        "predecessor_hash": HASH_SCHEMA,
        "previous_closed": {"type": ["boolean", "null"]},
        "previous_seq": _COUNT,
        "redaction_key": _NAME,
        "installation": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    },
    "log.succeeded": {"successor": _NAME, "clock_at": TIMESTAMP_SCHEMA},
    "log.recovered": {
        "segment": _NAME,
        "offset": _COUNT,
        "bytes": _COUNT,
        "sha256": HASH_SCHEMA,
        "kept": _NAME,
    },
    "log.clock_stepped": {"step_seconds": {"type": "number"}, "clock_at": TIMESTAMP_SCHEMA},
    "log.events_refused": {"count": {"type": "integer", "minimum": 1}},
    "log.space_low": {"level": {"enum": ["low", "critical"]}, "free_bytes": _COUNT},
    "log.heartbeat": {
        "interval_seconds": {"type": "number"},
        "records": _COUNT,
        "refused": _COUNT,
        "skipped": _COUNT,
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
    "log.closed": {},
    "log.archived": {
        "log": _NAME,
        "segment": _NAME,
        "key": _NAME,
        "version": _NAME,
        "size_bytes": _COUNT,
        "sha256": HASH_SCHEMA,
        "checksum": _NAME,
        "content_bytes": _COUNT,
        "first_seq": _COUNT,
        "last_seq": _COUNT,
        "last_hash": {"type": "string"},
        "mode": {"enum": ["GOVERNANCE", "COMPLIANCE"]},
        "retain_until": TIMESTAMP_SCHEMA,
        "at": TIMESTAMP_SCHEMA,
    },
    "log.archive_manifest": {
        "number": _COUNT,
        "key": _NAME,
        "version": _NAME,
        "sha256": HASH_SCHEMA,
    },
}
_STUB_MEMBERS: Final = ("v", "log", "seq", "prev_hash", "@timestamp", "hash")
_SOMETIMES: Final = frozenset(  # not in a log's first record, or only in that of a successor
    {"previous_bytes", "previous_hash", "previous_closed", "previous_seq", "redaction_key"}
    | {"predecessor", "predecessor_seq", "predecessor_hash", "counts", "installation"}
)


def record_schema() -> dict[str, Any]:
    """The schema, as a JSON object."""
    record = members()
    definitions: dict[str, Any] = {
        part.member: _object(
            part, next(member for member in record if member.path == part.member).inner
        )
        for part in (Actor, Resource)
    }
    cases = []
    for event_type, event in sorted(EVENT_TYPES.items()):
        definitions[event_type] = _details_of(event)
        needs_details = any(field.required for field in event.own_fields)
        cases.append(_case(event_type, details=needs_details, resource=event.names is not None))
    for event_type, fields in _LOGS_OWN.items():
        definitions[event_type] = {
            "type": "object",
            # Any record says clock_at whose timestamp is not the clock's (see adr 0001).
            "properties": {**fields, "clock_at": TIMESTAMP_SCHEMA},
            "required": [name for name in fields if name not in _SOMETIMES],
            "additionalProperties": False,
        }
        cases.append(_case(event_type, details=bool(fields), resource=False))
    definitions["stub"] = {
        "description": "The line that an erased record leaves in its place.",
        "type": "object",
        "properties": {
            **{name: _member(record, name) for name in _STUB_MEMBERS},
            "event_type": {"const": RECORD_ERASED},
            "leaf": {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"},
        },
        "required": [*_STUB_MEMBERS, "event_type", "leaf"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:llama-orch:auditlog:record:1",
        "title": "A record of an audit log, version 1",
        "description": "One line of a segment."
        " Made by python -m auditlog.events.schema; do not edit.",
        "type": "object",
        "properties": {member.path: member.schema for member in record},
        "required": [member.path for member in record if member.required],
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


def _member(record: tuple[Member, ...], name: str) -> Mapping[str, Any]:
    return next(member.schema for member in record if member.path == name)


def _object(part: type, inner: tuple[Member, ...]) -> dict[str, Any]:
    """The schema of an actor or a resource."""
    named = [(member.path.rpartition(".")[2], member) for member in inner]
    return {
        "description": (part.__doc__ or "").partition("\n")[0],
        "type": "object",
        "properties": {name: member.schema for name, member in named},
        "required": [name for name, member in named if member.required],
        "additionalProperties": False,
    }


def _details_of(event: type[Event]) -> dict[str, Any]:
    return {
        "description": (event.__doc__ or "").partition("\n")[0],
        "type": "object",
        "properties": {field.name: field.kind.schema for field in event.own_fields},
        "required": [field.name for field in event.own_fields if field.required],
    }


def _case(event_type: str, *, details: bool, resource: bool) -> dict[str, Any]:
    """Return the if/then subschema for the records of one type."""
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
