"""Convert a record's fields back to a typed Actor, Resource and Event.  Pure.

What redaction or a later version of the library changed may not fit a field any more; such a field
is left out of an actor or a resource, and an event that requires it is not made.

Invariants (tests of the same name in tests/auditlog/events/test_typed_records.py):
  round_trip   an event that is recorded and read back is equal to what it was
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from auditlog.errors import InvalidEvent
from auditlog.events.actor import Actor, Resource
from auditlog.events.annotations import FieldSpec
from auditlog.events.base import Event
from auditlog.events.vocabulary import EVENT_TYPES
from auditlog.redaction.visible import reveal_all

__all__ = ["actor_of", "event_of", "resource_of"]

_Of = TypeVar("_Of", Actor, Resource)


def actor_of(fields: Mapping[str, Any]) -> Actor | None:
    """Return the actor of a record, None where it has none that can be read."""
    return _party(Actor, reveal_all(fields.get("actor")))


def resource_of(fields: Mapping[str, Any]) -> Resource | None:
    """Return the resource of a record, None where it has none that can be read."""
    return _party(Resource, reveal_all(fields.get("resource")))


def event_of(fields: Mapping[str, Any]) -> Event | None:
    """Return the typed event of a record's fields.

    None for a type that no class is defined for, and for a record that lacks what the class
    requires.  Classes of the program's own are found, too.
    """
    fields = reveal_all(fields)
    event_type = fields.get("event_type")
    kind = EVENT_TYPES.get(str(event_type)) or _own_types().get(str(event_type))
    if kind is None:
        return None
    details = dict(fields.get("details") or {})
    own = _checked(kind.own_fields, details)
    for name in own:
        del details[name]
    resource = _party(Resource, fields.get("resource"))
    if kind.names is not None and resource is not None:
        implied = {"resource_type": kind.names[0], "resource_id": str(own.get(kind.names[1]))}
        if resource == Resource(**implied):
            resource = None  # it follows from the field that names it
    try:
        return kind(
            **own,
            actor=_party(Actor, fields.get("actor")),
            resource=resource,
            outcome=fields.get("outcome"),
            reason=fields.get("reason"),
            severity=fields.get("severity"),
            correlation_id=fields.get("correlation_id"),
            details=details or None,
        )
    except (InvalidEvent, TypeError):
        return None


def _party(kind: type[_Of], given: object) -> _Of | None:
    if not isinstance(given, Mapping):
        return None
    try:
        return kind(**_checked(kind.declared, given))
    except (InvalidEvent, TypeError):
        return None


def _checked(declared: tuple[FieldSpec, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of declared fields that fit them."""
    found = {}
    for field in declared:
        if (value := given.get(field.name)) is None:
            continue
        try:
            found[field.name] = field.kind.check(field.name, field.kind.revive(value))
        except InvalidEvent:
            continue
    return found


def _own_types() -> Mapping[str, type[Event]]:
    return {kind.event_type: kind for kind in _subclasses(Event)}


def _subclasses(kind: type[Event]) -> Iterator[type[Event]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)
