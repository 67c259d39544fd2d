"""List the members of a record, each with its description, index mapping and ECS name.  Pure.

The members that a caller fills in are read from Event, Actor and Resource, where each is declared
once.  The JSON Schema, the index template, the columns of an export and the aliases of a search are
made from this list.

Invariants (tests of the same name in tests/auditlog/events/test_members.py):
  one_place   a field added to Actor, Resource or Event is in the schema, the index template, the
              columns of an export and the aliases of a search
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from auditlog.events.actor import Actor, Resource
from auditlog.events.annotations import FieldSpec
from auditlog.events.base import Event
from auditlog.events.field_kinds import Indexed

__all__ = ["HASH_SCHEMA", "TIMESTAMP_SCHEMA", "Member", "aliases", "leaves", "members"]

HASH_SCHEMA: Final[Mapping[str, Any]] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
TIMESTAMP_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "string",
    "format": "date-time",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$",
}
_PART: Final = "[A-Za-z0-9._-]+"


class Member(NamedTuple):
    """One member of a record, or of an object in it; ``path`` is like ``actor.user_id``."""

    path: str
    schema: Mapping[str, Any]
    indexed: Indexed = "keyword"
    ecs: str | None = None
    required: bool = True
    """Whether every record, or every such object, has it."""
    inner: tuple[Member, ...] = ()
    """The members of an object whose members are known."""


_HEAD: Final = (
    Member("v", {"const": 1}, "short"),
    Member("log", {"type": "string", "pattern": f"^{_PART}@{_PART}(\\+{_PART})?$"}),
    Member("seq", {"type": "integer", "minimum": 1}, "long", "event.sequence"),
    Member("prev_hash", HASH_SCHEMA, "stored"),
    Member("@timestamp", TIMESTAMP_SCHEMA, "date"),
    Member(
        "event_type",
        {"type": "string", "pattern": "^[a-z][a-z0-9_.]{0,63}$"},
        "keyword",
        "event.action",
    ),
    Member("service", {"type": "string", "pattern": f"^{_PART}$"}, "keyword", "service.name"),
    Member("host", {"type": "string", "pattern": f"^{_PART}$"}, "keyword", "host.name"),
)
_TAIL: Final = (
    Member("salt", {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$"}, "stored", required=False),
    Member("hash", HASH_SCHEMA, "keyword", "event.hash"),
)
_FILLED_IN: Final = ("outcome", "severity")  # optional in an event, present in every record


def members() -> tuple[Member, ...]:
    """Return the members of a record, in its order."""
    inner = {"actor": Actor.declared, "resource": Resource.declared}
    common = [_member(field, "", inner.get(field.name, ())) for field in Event.declared]
    return (*_HEAD, *common, *_TAIL)


def leaves(of: tuple[Member, ...]) -> Iterator[Member]:
    """Yield the members, each object replaced by its own members where these are known."""
    for member in of:
        if member.inner:
            yield from leaves(member.inner)
        else:
            yield member


def aliases() -> dict[str, Member]:
    """Return the members by their ECS names, where such a name can stand beside the others.

    The name log.level cannot: ``log`` is a string in the record.
    """
    record = members()
    taken = {member.path for member in record}
    return {
        member.ecs: member
        for member in leaves(record)
        if member.ecs is not None
        and ((group := member.ecs.partition(".")[0]) not in taken or group == member.path)
    }


def _member(field: FieldSpec, prefix: str, inner: tuple[FieldSpec, ...] = ()) -> Member:
    path = prefix + field.name
    return Member(
        path,
        field.kind.schema,
        field.kind.indexed,
        field.ecs,
        not field.nullable or path in _FILLED_IN,
        tuple(_member(each, f"{path}.") for each in inner),
    )
