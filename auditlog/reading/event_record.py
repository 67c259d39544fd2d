"""Provide the actor, resource and event of a record as typed objects.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditlog.events import typed_records
from auditlog.format.record import Record

if TYPE_CHECKING:
    from auditlog.events.actor import Actor, Resource
    from auditlog.events.base import Event

__all__ = ["EventRecord"]


class EventRecord(Record):
    """A record as returned by auditlog.read."""

    @property
    def actor(self) -> Actor | None:
        """The actor, None where the record has none."""
        return typed_records.actor_of(self.fields)

    @property
    def resource(self) -> Resource | None:
        """The resource, None where the record has none."""
        return typed_records.resource_of(self.fields)

    def event(self) -> Event | None:
        """Return the typed event; None for a type that no class is defined for."""
        return typed_records.event_of(self.fields)
