"""Encode whatever emit is given: a typed event, or the name of a type and its fields.  Pure.

Every log encodes by this function, so one that writes nothing refuses what one that writes does.

In an ``except`` block nothing is refused, unless the rules are strict: the refusal would replace
the exception that is being handled.  Such an event is recorded reduced (see reduction), and its
``details._refused`` says why.

Invariants (tests of the same name in tests/auditlog/events/test_encode.py):
  handled   an event in an except block is recorded, whatever it was given
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from auditlog.errors import InvalidEvent
from auditlog.events.base import COMMON_FIELDS, Event
from auditlog.events.body import encode_body, encode_free
from auditlog.events.context import Context
from auditlog.events.reduction import reduced
from auditlog.events.values import LENIENT, ValueRules
from auditlog.events.vocabulary import EVENT_TYPES
from auditlog.format.record import MAX_OVERHEAD_BYTES, MAX_RECORD_BYTES, too_large
from auditlog.redaction.redactor import KEYLESS, Redactor

__all__ = ["encode"]

_REFUSED: Final = "_refused"


def encode(
    event: Event | str,
    fields: Mapping[str, Any],
    *,
    service_host: str,
    context: Context | None,
    rules: ValueRules = LENIENT,
    redactor: Redactor = KEYLESS,
) -> tuple[bytes, bool]:
    """Return the body of the record, and whether the event is critical.  Raises InvalidEvent."""
    refusal: InvalidEvent
    try:
        body, critical = _encode(event, fields, service_host, context, rules, redactor)
    except InvalidEvent as error:
        refusal = error
    else:
        size = len(body) + MAX_OVERHEAD_BYTES
        if size <= MAX_RECORD_BYTES or sys.exc_info()[1] is None:
            return body, critical  # if it is too large after all, the log refuses it
        refusal = too_large(size)
    if sys.exc_info()[1] is None or rules.strict:  # of the caller: ours was left with its block
        raise refusal
    if isinstance(event, Event):
        given = {name: getattr(event, name) for name in COMMON_FIELDS}
        own = {field.name: getattr(event, field.name) for field in event.own_fields}
        fields = {**given, "details": {**own, **(event.details or {})}}
    name = event.event_type if isinstance(event, Event) else event
    event_type, kept = reduced(name, fields, rules)
    kept["details"] = {**kept["details"], _REFUSED: refusal.reason}
    return _encode(event_type, kept, service_host, context, rules, redactor)


def _encode(  # noqa: PLR0917  (those of encode)
    event: Event | str,
    fields: Mapping[str, Any],
    service_host: str,
    context: Context | None,
    rules: ValueRules,
    redactor: Redactor,
) -> tuple[bytes, bool]:
    if isinstance(event, str):
        critical = EVENT_TYPES.get(event, Event).critical or fields.get("severity") == "critical"
        body = encode_free(
            event,
            service_host=service_host,
            context=context,
            rules=rules,
            redactor=redactor,
            **fields,
        )
        return body, critical
    if not isinstance(event, Event):
        given = f"the class {event.__name__}" if isinstance(event, type) else type(event).__name__
        raise InvalidEvent(
            f"emit was given {given}, not an event",
            hint="Give an object such as events.AuthSuccess(...), or a name and its fields.",
        )
    if fields:
        raise InvalidEvent(
            f"{event.event_type}: a typed event carries its fields itself",
            hint="Give actor, resource, outcome and the rest to the event's constructor.",
        )
    body = encode_body(
        event, service_host=service_host, context=context, rules=rules, redactor=redactor
    )
    return body, event.critical or event.severity == "critical"
