"""Turn an invalid or oversized event into one that can always be recorded.  Pure.

The bridges use it, since no event may be lost because its form is wrong; so does emit in an
``except`` block, where a refusal would replace the exception that is being handled.

A valid member is kept.  Any other moves below details under its own name; a name that is
not an event type is kept as ``claimed_type``; a long value becomes its length and hash.

Invariants (tests of the same name in tests/auditlog/events/test_reduction.py):
  never_lost   whatever an event was given, the reduced fields make a record
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

import orjson

from auditlog.errors import InvalidEvent, RecordTooLarge
from auditlog.events.actor import Actor, Resource, as_actor, as_resource
from auditlog.events.base import EVENT_TYPE, OUTCOME, RESERVED_TYPES, SEVERITY
from auditlog.events.field_kinds import check_text
from auditlog.events.values import LENIENT, REPLACED, ValueRules, cleaned
from auditlog.events.vocabulary import EVENT_TYPES
from auditlog.redaction.redactor import KEYLESS, UNCUT

__all__ = ["PLAIN_TYPE", "reduced"]

PLAIN_TYPE: Final = "app.logged"
"""The type of an event whose own cannot be kept."""

_MAX_REASON_BYTES: Final = 16_384
_MAX_NAME_BYTES: Final = 1_024
_MAX_VALUE_BYTES: Final = 4_096
_MAX_DEPTH: Final = 8
_MAX_DETAILS_BYTES: Final = 24_576

_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "actor": lambda value: _short_party(as_actor(value)),
    "resource": lambda value: _short_party(as_resource(value)),
    "outcome": lambda value: OUTCOME.check("outcome", value),
    "severity": lambda value: SEVERITY.check("severity", value),
    "reason": lambda value: _short(check_text("reason", value), _MAX_REASON_BYTES),
    "correlation_id": lambda value: _short(check_text("", value), _MAX_NAME_BYTES),
}


def reduced(
    event_type: object, fields: Mapping[str, Any], rules: ValueRules = LENIENT
) -> tuple[str, dict[str, Any]]:
    """Return a type and fields that make a record.

    A type of the vocabulary is not kept: its fields may be what was refused.
    """
    rules = ValueRules(rules.default)
    kept: dict[str, Any] = {}
    told: dict[str, Any] = {}
    kept_type = event_type if _is_free(event_type) else PLAIN_TYPE
    if kept_type != event_type:
        told["claimed_type"] = event_type
    for name, value in fields.items():
        if value is None or name == "details":
            continue
        try:
            kept[name] = _CHECKS[name](value)
        except (InvalidEvent, RecordTooLarge, KeyError):
            told[name] = value
    details = fields.get("details")
    if isinstance(details, Mapping):
        told = {**details, **told}
    elif details is not None:
        told["details"] = details
    kept["details"] = _cut(told, rules)
    return str(kept_type), kept


def _is_free(event_type: object) -> bool:
    return (
        isinstance(event_type, str)
        and EVENT_TYPE.fullmatch(event_type) is not None
        and not event_type.startswith(RESERVED_TYPES)
        and event_type not in EVENT_TYPES
    )


def _short(text: str, most_bytes: int) -> str:
    if len(orjson.dumps(KEYLESS.text(text, ""))) > most_bytes:
        raise InvalidEvent("too long")
    return text


def _short_party(party: Actor | Resource | None) -> Actor | Resource | None:
    """Return the actor or resource.  Raises InvalidEvent when it is as long as a record."""
    if party is not None and len(party.json_for(KEYLESS)) > _MAX_REASON_BYTES:
        raise InvalidEvent("too long")
    return party


def _cut(details: Mapping[Any, Any], rules: ValueRules) -> dict[str, Any]:
    """Return the details that fit, each cut to size, with a count of those left out."""
    kept: dict[str, Any] = {}
    replaced: list[str] = []
    left = _MAX_DETAILS_BYTES
    omitted = 0
    for name, value in details.items():
        try:
            made, notes = cleaned({_short_key(name): _shortened(value)}, "details", rules, UNCUT)
        except (InvalidEvent, RecordTooLarge):  # redaction could not bring it down to a size
            omitted += 1
            continue
        size = len(orjson.dumps([made, notes]))
        if size > left:
            omitted += 1
        else:
            kept |= made
            replaced += notes
            left -= size
    if omitted:
        kept["omitted_fields"] = omitted
    if replaced:
        kept[REPLACED] = replaced
    return kept


def _short_key(name: object) -> object:
    if not isinstance(name, str) or len(name) <= 256:
        return name
    text = name.encode("utf-8", "backslashreplace")
    return f"{text[:32].decode('utf-8', 'replace')}… {sha256(text).hexdigest()[:12]}"


def _shortened(value: Any, depth: int = 0) -> Any:
    """Replace long texts in a value by their length and hash."""
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace")
        if len(text) <= _MAX_VALUE_BYTES:
            return value
        return {"length": len(value), "hash": f"sha256:{sha256(text).hexdigest()}"}
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {_short_key(key): _shortened(item, depth + 1) for key, item in value.items()}
    if depth < _MAX_DEPTH and isinstance(value, (list, tuple)):
        return [_shortened(item, depth + 1) for item in value]
    return value
