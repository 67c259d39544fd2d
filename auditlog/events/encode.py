"""Encode emit's argument: a typed event, or a type's name and fields.  Pure.

Every log has an encoder, so one that writes nothing refuses what one that writes does.

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

__all__ = ["EventEncoder"]

_REFUSED: Final = "_refused"


class EventEncoder:
    """Encodes the events of one log; any thread may call it."""

    __slots__ = ("_redactor", "_rules", "_service_host")

    def __init__(
        self, service_host: str, rules: ValueRules = LENIENT, redactor: Redactor = KEYLESS
    ) -> None:
        self._service_host, self._rules, self._redactor = service_host, rules, redactor

    def encode(
        self, event: Event | str, fields: Mapping[str, Any], context: Context | None
    ) -> tuple[bytes, bool]:
        """Return the body of the record, and whether the event is critical.

        Raises InvalidEvent.
        """
        refusal: InvalidEvent
        try:
            if isinstance(event, str):
                body = encode_free(
                    event, self._service_host, context, self._rules, self._redactor, **fields
                )
                kind = EVENT_TYPES.get(event, Event)
                critical = kind.critical or fields.get("severity") == "critical"
            else:
                if fields or not isinstance(event, Event):
                    raise _not_typed(event)
                body = encode_body(event, self._service_host, context, self._rules, self._redactor)
                critical = event.critical or event.severity == "critical"
        except InvalidEvent as error:
            refusal = error
        else:
            size = len(body) + MAX_OVERHEAD_BYTES
            if size <= MAX_RECORD_BYTES or sys.exception() is None:
                return body, critical  # if it is too large after all, the log refuses it
            refusal = too_large(size)
        # The error of the caller's block: ours was left with its own.
        if sys.exception() is None or self._rules.strict:
            raise refusal
        return self._reduced(event, fields, context, refusal)

    def _reduced(
        self,
        event: Event | str,
        fields: Mapping[str, Any],
        context: Context | None,
        refusal: InvalidEvent,
    ) -> tuple[bytes, bool]:
        """As encode, with what makes a record in any case, and why the event itself made none."""
        if isinstance(event, Event):
            given = {name: getattr(event, name) for name in COMMON_FIELDS}
            own = {field.name: getattr(event, field.name) for field in event.own_fields}
            fields = {**given, "details": {**own, **(event.details or {})}}
        name = event.event_type if isinstance(event, Event) else event
        event_type, kept = reduced(name, fields, self._rules)
        kept["details"] = {**kept["details"], _REFUSED: refusal.reason}
        body = encode_free(
            event_type, self._service_host, context, self._rules, self._redactor, **kept
        )
        kind = EVENT_TYPES.get(event_type, Event)
        return body, kind.critical or kept.get("severity") == "critical"


def _not_typed(event: object) -> InvalidEvent:
    if isinstance(event, Event):
        return InvalidEvent(
            f"{event.event_type}: a typed event carries its fields itself",
            hint="Give actor, resource, outcome and the rest to the event's constructor.",
        )
    given = f"the class {event.__name__}" if isinstance(event, type) else type(event).__name__
    return InvalidEvent(
        f"emit was given {given}, not an event",
        hint="Give an object such as events.AuthSuccess(...), or a name and its fields.",
    )
