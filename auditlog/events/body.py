"""From event to the bytes of its record: every member from ``event_type`` to ``details``.  Pure.

The order is that of the record: event_type, service, host, actor, resource, outcome, reason,
severity, correlation_id, details.  What is absent is left out; outcome and severity never are.

Invariants (tests of the same name in tests/auditlog/events/test_body.py):
  one_object   between braces the body is one JSON object with these members in this order
  no_secret    a secret placed anywhere in an event is not in the bytes
  one_line     no event puts a control, a bidi control or a line separator into the bytes
  refused      what JSON cannot hold is refused with the name of the field
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any, Final

import orjson

from auditlog.errors import InvalidEvent
from auditlog.events.actor import (
    Actor,
    Outcome,
    Resource,
    Severity,
    as_actor,
    as_resource,
)
from auditlog.events.base import (
    EVENT_TYPE,
    LIBRARYS_OWN,
    OUTCOME,
    SEVERITY,
    Event,
    check_mapping,
    check_string,
)
from auditlog.events.context import Context
from auditlog.events.vocabulary import EVENT_TYPES
from auditlog.redaction.cleaning import clean, clean_text, escape, label_json
from auditlog.redaction.secret_text import suspicious

__all__ = ["encode_body", "encode_free", "service_host"]

_LIBRARYS_FIELDS: Final = frozenset(
    {"v", "log", "seq", "prev_hash", "@timestamp", "hash", "service", "host"}
)


def service_host(service: str, host: str) -> str:
    """The members ``service`` and ``host``, made once for a log."""
    return orjson.dumps({"service": service, "host": host})[1:-1].decode()


def encode_body(event: Event, *, service_host: str, context: Context | None = None) -> bytes:
    """The body of a typed event.  Raises InvalidEvent naming the field."""
    details, named = event.own_json()
    if event.details is not None or (context is not None and context.details):
        more = {} if event.details is None else clean(event.details, "details")
        if context is not None and context.details:
            own = {f.name for f in event.own_fields if getattr(event, f.name) is not None}
            more = _add_bound(more, context.details, own)
        if more:
            details = f"{details},{_members(more)}" if details else _members(more)
    return _encode(
        event.event_type,
        service_host,
        context,
        event.actor,
        event.resource,
        named,
        event.outcome,
        event.reason,
        event.severity,
        event.correlation_id,
        details,
    )


def encode_free(
    event_type: str,
    *,
    service_host: str,
    context: Context | None = None,
    actor: Actor | Mapping[str, Any] | None = None,
    resource: Resource | Mapping[str, Any] | None = None,
    outcome: Outcome | None = None,
    reason: str | None = None,
    severity: Severity | None = None,
    correlation_id: str | None = None,
    details: Mapping[str, Any] | None = None,
    **strange: object,
) -> bytes:
    """The body of an event given by its type's name.

    With a type of the vocabulary its own fields, below ``details`` or in the context, are checked;
    where none that it requires is missing, the record is the typed event's.  Of any other name
    outcome and severity are success and info when not given.  Raises InvalidEvent naming the field.
    """
    if strange:
        _refuse_strange(event_type, strange)
    if not isinstance(event_type, str) or EVENT_TYPE.fullmatch(event_type) is None:
        raise InvalidEvent(
            "the event type is not a name like pool.drained",
            hint="A lower-case letter, then up to 63 lower-case letters, digits, _ and dots.",
        )
    if event_type.startswith(LIBRARYS_OWN):
        raise InvalidEvent(
            f"{event_type}: types that start with log. are the library's own",
            hint="Choose another first word.",
        )
    known = EVENT_TYPES.get(event_type, Event)
    if known is not Event:
        own, more = _own_fields(known, details, context)
        if all(field.name in own for field in known.own_fields if field.required):
            event = known(
                **own,
                actor=actor,
                resource=resource,
                outcome=outcome,
                reason=reason,
                severity=severity,
                correlation_id=correlation_id,
                details=more or None,
            )
            return encode_body(event, service_host=service_host, context=context)
    if outcome is None:
        outcome = known.default_outcome
    else:
        OUTCOME.check("outcome", outcome)
    if severity is None:
        severity = known.default_severity
    else:
        SEVERITY.check("severity", severity)
    given = {} if details is None else clean(check_mapping("details", details), "details")
    if context is not None and context.details:
        given = _add_bound(given, context.details, ())
    return _encode(
        event_type,
        service_host,
        context,
        None if actor is None else as_actor(actor),
        None if resource is None else as_resource(resource),
        "",
        outcome,
        None if reason is None else check_string("reason", reason),
        severity,
        None if correlation_id is None else check_string("correlation_id", correlation_id),
        _members(given),
    )


def _own_fields(
    kind: type[Event], details: Mapping[str, Any] | None, context: Context | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The type's own fields that stand below ``details`` or in the context, checked; the rest."""
    more = dict(check_mapping(f"{kind.event_type}.details", {} if details is None else details))
    bound = context.details if context is not None and context.details else {}
    own: dict[str, Any] = {}
    for field in kind.own_fields:
        name = field.name
        if name not in more and name not in bound:
            continue
        value = more.pop(name) if name in more else bound[name]
        if value is None and not field.required:
            continue
        if field.kind.name == "Instant":
            value = _as_instant(value)
        own[name] = field.kind.check(f"{kind.event_type}.{name}", value)
    return own, more


def _as_instant(value: object) -> object:
    """The datetime of a text that is one: what is given by name may come from JSON."""
    if isinstance(value, str):
        try:
            return dt.datetime.fromisoformat(value)
        except ValueError:
            pass  # the field's own check says what it wants
    return value


def _add_bound(
    details: dict[str, Any], bound: Mapping[str, Any], own: Collection[str]
) -> dict[str, Any]:
    """The details, and those of the context that neither they nor the event's fields have."""
    return {**details, **{k: v for k, v in bound.items() if k not in details and k not in own}}


def _members(details: dict[str, Any]) -> str:
    return orjson.dumps(details)[1:-1].decode()


def _encode(  # noqa: PLR0917  (keywords would cost a tenth of the call)
    event_type: str,
    service_host: str,
    context: Context | None,
    actor: Any,
    resource: Any,
    named: str,
    outcome: str | None,
    reason: str | None,
    severity: str | None,
    correlation_id: str | None,
    details: str,
) -> bytes:
    """Everything was checked; ``named`` is the event's own resource, ``details`` are clean JSON."""
    if context is not None:
        actor = context.actor if actor is None else actor
        resource = context.resource if resource is None and not named else resource
        reason = context.reason if reason is None else reason
        correlation_id = context.correlation_id if correlation_id is None else correlation_id
    who = "" if actor is None else f'"actor":{actor.json},'
    what = named if resource is None else f'"resource":{resource.json},'
    why = "" if reason is None else f'"reason":"{label_json(reason, f"{event_type}.reason")}",'
    request = ""
    if correlation_id is not None:
        if suspicious(correlation_id):
            correlation_id = escape(clean_text(correlation_id, f"{event_type}.correlation_id"))
        request = f',"correlation_id":"{correlation_id}"'
    if details:
        details = f',"details":{{{details}}}'
    return (
        f'"event_type":"{event_type}",{service_host},{who}{what}"outcome":"{outcome}",'
        f'{why}"severity":"{severity}"{request}{details}'
    ).encode()


def _refuse_strange(event_type: object, strange: Mapping[str, object]) -> None:
    listed = ", ".join(sorted(strange))
    if owned := _LIBRARYS_FIELDS.intersection(strange):
        raise InvalidEvent(
            f"{event_type}: {', '.join(sorted(owned))} is written by the library, not by callers",
            hint="Leave it out.",
        )
    raise InvalidEvent(f"{event_type}: unknown field {listed}", hint="Put it under details.")
