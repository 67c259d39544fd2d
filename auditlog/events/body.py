"""Encode an event as the bytes of its record, from ``event_type`` to ``details``.  Pure.

The order is that of the record: event_type, service, host, actor, resource, outcome, reason,
severity, correlation_id, details.  What is absent is left out; outcome and severity never are.

Invariants (tests of the same name in tests/auditlog/events/test_body.py):
  one_object   between braces the body is one JSON object with these members in this order
  no_secret    a secret placed anywhere in an event is not in the bytes
  one_line     no event puts a control, a bidi control or a line separator into the bytes
  refused      a member of the wrong kind is refused with its name
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, cast

import orjson

from auditlog.errors import InvalidEvent
from auditlog.events.actor import (
    OUTCOMES,
    SEVERITIES,
    Actor,
    Outcome,
    Resource,
    Severity,
    actor_json,
    resource_json,
)
from auditlog.events.base import (
    ARCHIVE_SERVICE,
    ARCHIVE_TYPES,
    EVENT_TYPE,
    OUTCOME,
    RESERVED_TYPES,
    SEVERITY,
    Event,
    check_mapping,
)
from auditlog.events.context import Context
from auditlog.events.field_kinds import check_text
from auditlog.events.values import LENIENT, REPLACED, ValueRules, cleaned
from auditlog.events.vocabulary import EVENT_TYPES
from auditlog.redaction.redactor import KEYLESS, PLAIN_LENGTH, Redactor

__all__ = ["encode_body", "encode_free", "service_host"]

_LIBRARYS_FIELDS: Final = frozenset(
    {"v", "log", "seq", "prev_hash", "@timestamp", "hash", "service", "host"}
)
_MAX_FREE_TYPES: Final = 1024
_FREE_TYPES: Final[set[str]] = set()
"""Names outside the vocabulary that were checked, and may be used in any log."""


def service_host(service: str, host: str) -> str:
    """The members ``service`` and ``host``, made once for a log."""
    return orjson.dumps({"service": service, "host": host})[1:-1].decode()


def encode_body(
    event: Event,
    service_host: str,
    context: Context | None = None,
    rules: ValueRules = LENIENT,
    redactor: Redactor = KEYLESS,
) -> bytes:
    """Return the body of a typed event.  Raises InvalidEvent naming the field."""
    details, named = event.own_json(redactor)
    if event.details is not None or event.loose_fields or (context and context.details):
        bound = _bound_details(context, redactor)
        own = {f.name for f in event.own_fields if getattr(event, f.name) is not None}
        replaced = _replaced_in(event, rules)
        given = {} if event.details is None else event.details
        more = _details(given, bound, own, rules, redactor, replaced)
        if more:
            details = f"{details},{_members(more)}" if details else _members(more)
    actor = event.actor
    if actor is None and context is not None:
        actor = context.actor
    resource = event.resource
    if resource is None and context is not None and not named:
        resource = context.resource
    return _encode(
        redactor,
        event.event_type,
        service_host,
        context,
        "" if actor is None else actor.json_for(redactor),  # type: ignore[union-attr]  # checked
        named if resource is None else f'"resource":{resource.json_for(redactor)},',  # type: ignore[union-attr]  # checked
        event.outcome,
        event.reason,
        event.severity,
        event.correlation_id,
        details,
    )


def encode_free(
    event_type: str,
    service_host: str,
    context: Context | None = None,
    rules: ValueRules = LENIENT,
    redactor: Redactor = KEYLESS,
    *,
    actor: Actor | Mapping[str, Any] | str | None = None,
    resource: Resource | Mapping[str, Any] | None = None,
    outcome: Outcome | None = None,
    reason: str | None = None,
    severity: Severity | None = None,
    correlation_id: str | None = None,
    details: Mapping[str, Any] | None = None,
    **strange: object,
) -> bytes:
    """Return the body of an event given by its type's name.

    With a type of the vocabulary its own fields, below ``details`` or in the context, are checked;
    where none that it requires is missing, the record is the typed event's.  Of any other name
    outcome and severity are success and info when not given.  Raises InvalidEvent naming the field.
    """
    if strange:
        _refuse_strange(event_type, strange)
    known = EVENT_TYPES.get(event_type) if isinstance(event_type, str) else None
    if known is None:
        if event_type not in _FREE_TYPES:
            _check_type(event_type, service_host)
    elif (event := _typed(known, details, context)) is not None:
        own, more = event
        if more is None and _needs_no_object(
            known, context, outcome, reason, severity, correlation_id
        ):
            return _encode_known(
                known,
                own,
                service_host,
                context,
                redactor,
                actor,
                resource,
                outcome,
                reason,
                severity,
                correlation_id,
            )
        return encode_body(
            known(
                **own,
                actor=actor,
                resource=resource,
                outcome=outcome,
                reason=reason,
                severity=severity,
                correlation_id=correlation_id,
                details=more,
            ),
            service_host,
            context,
            rules,
            redactor,
        )
    if outcome is None:
        outcome = "success" if known is None else known.default_outcome
    elif outcome.__class__ is not str or outcome not in OUTCOMES:
        outcome = cast("Outcome", OUTCOME.check("outcome", outcome))
    if severity is None:
        severity = "info" if known is None else known.default_severity
    elif severity.__class__ is not str or severity not in SEVERITIES:
        severity = cast("Severity", SEVERITY.check("severity", severity))
    bound = None if context is None else _bound_details(context, redactor)
    members = None if bound or details.__class__ is not dict else redactor.plain_members(details)
    if members is None and (details is not None or bound):
        given = check_mapping("details", {} if details is None else details)
        members = _members(_details(given, bound, (), rules, redactor, []))
    if actor is None and context is not None:
        actor = context.actor
    if resource is None and context is not None:
        resource = context.resource
    return _encode(
        redactor,
        event_type,
        service_host,
        context,
        "" if actor is None else actor_json(actor, redactor),
        "" if resource is None else f'"resource":{resource_json(resource, redactor)},',
        outcome,
        reason if reason is None or reason.__class__ is str else check_text("reason", reason),
        severity,
        correlation_id
        if correlation_id is None or correlation_id.__class__ is str
        else check_text("correlation_id", correlation_id),
        members or "",
    )


def _needs_no_object(  # noqa: PLR0917  (as below)
    known: type[Event],
    context: Context | None,
    outcome: object,
    reason: object,
    severity: object,
    correlation_id: object,
) -> bool:
    """Whether the constructor would take the common fields as they are, and they are all."""
    return (
        not known.loose_fields
        and (context is None or not context.details)
        and (outcome is None or (outcome.__class__ is str and outcome in OUTCOMES))
        and (severity is None or (severity.__class__ is str and severity in SEVERITIES))
        and (reason is None or reason.__class__ is str)
        and (correlation_id is None or correlation_id.__class__ is str)
    )


def _encode_known(  # noqa: PLR0917  (keywords would cost a tenth of the call)
    known: type[Event],
    own: Mapping[str, Any],
    service_host: str,
    context: Context | None,
    redactor: Redactor,
    actor: Actor | Mapping[str, Any] | str | None,
    resource: Resource | Mapping[str, Any] | None,
    outcome: str | None,
    reason: str | None,
    severity: str | None,
    correlation_id: str | None,
) -> bytes:
    """As encode_body of the typed event, which is not made: that would be half of the call."""
    details, named = known.own_json_from(redactor, **own)
    if context is not None:
        actor = context.actor if actor is None else actor
        resource = context.resource if resource is None and not named else resource
    return _encode(
        redactor,
        known.event_type,
        service_host,
        context,
        "" if actor is None else actor_json(actor, redactor),
        named if resource is None else f'"resource":{resource_json(resource, redactor)},',
        outcome or known.default_outcome,
        reason,
        severity or known.default_severity,
        correlation_id,
        details,
    )


def _check_type(event_type: object, service_host: str) -> None:
    if not isinstance(event_type, str) or EVENT_TYPE.fullmatch(event_type) is None:
        given = "" if isinstance(event_type, str) else f" but {type(event_type).__name__}"
        raise InvalidEvent(
            f"the event type is not a name like pool.drained{given}",
            hint="A lower-case letter, then up to 63 lower-case letters, digits, _ and dots.",
        )
    if event_type.startswith(RESERVED_TYPES):
        first = event_type.partition(".")[0]
        own = ARCHIVE_SERVICE if event_type in ARCHIVE_TYPES else first
        # Only the library can open the log of one of its services (writer.opening.ReservedService).
        if own == "log" or not service_host.startswith(f'"service":"{own}"'):
            raise InvalidEvent(
                f"{event_type}: types that start with {first}. are the library's own",
                hint="log., retention., evidence. and witness. are reserved: "
                "choose another first word.",
            )
    elif len(_FREE_TYPES) < _MAX_FREE_TYPES:
        _FREE_TYPES.add(event_type)


def _typed(
    kind: type[Event], details: Mapping[str, Any] | None, context: Context | None
) -> tuple[Mapping[str, Any], Mapping[str, Any] | None] | None:
    """The type's own fields, and the other details; None where a required one is missing.

    Own fields are below ``details`` or in the context.  Where one is missing, those that are there
    are checked here, since no constructor will.
    """
    given = check_mapping(f"{kind.event_type}.details", {} if details is None else details)
    if (
        (context is None or not context.details)
        and given.keys() <= kind.own_names
        and kind.required_names <= given.keys()
    ):
        return given, None  # the common case: the constructor checks the fields
    bound = context.details if context is not None and context.details else {}
    more = dict(given)
    own: dict[str, Any] = {}
    for field in kind.own_fields:
        name = field.name
        value = more.pop(name) if name in more else bound.get(name)
        if value is not None or (field.required and name in given):
            own[name] = value
    if kind.required_names <= own.keys():
        return own, more or None
    for field in kind.own_fields:
        if field.name in own:
            field.kind.check(f"{kind.event_type}.{field.name}", own[field.name])
    return None


def _bound_details(context: Context | None, redactor: Redactor) -> Mapping[str, Any] | None:
    return context.details_for(redactor) if context is not None and context.details else None


def _details(  # noqa: PLR0917  (keywords would cost a tenth of the call)
    given: Mapping[str, Any],
    bound: Mapping[str, Any] | None,
    own: Collection[str],
    rules: ValueRules,
    redactor: Redactor,
    replaced: list[str],
) -> dict[str, Any]:
    """The details as they are recorded: cleaned, with those of the context.

    What was bound is left out where the details or the event's own fields have it.
    """
    made, replaced_here = cleaned(given, "details", rules, redactor)
    if bound:
        made = {**made, **{k: v for k, v in bound.items() if k not in made and k not in own}}
    if replaced or replaced_here:
        made[REPLACED] = [*made.get(REPLACED, ()), *replaced, *replaced_here]
    return cast("dict[str, Any]", made)


def _replaced_in(event: Event, rules: ValueRules) -> list[str]:
    """List what had to be replaced in the event's fields that take any value."""
    found: list[str] = []
    for name in event.loose_fields:
        if (value := getattr(event, name)) is not None:
            found += cleaned({name: value}, event.event_type, rules)[1]
    return found


def _members(details: dict[str, Any]) -> str:
    return orjson.dumps(details)[1:-1].decode()


def _encode(  # noqa: PLR0917  (keywords would cost a tenth of the call)
    redactor: Redactor,
    event_type: str,
    service_host: str,
    context: Context | None,
    actor: str,
    what: str,
    outcome: str | None,
    reason: str | None,
    severity: str | None,
    correlation_id: str | None,
    details: str,
) -> bytes:
    """Everything was checked; ``actor`` is JSON, ``what`` the member resource with its comma, and
    ``details`` are the members of the details.
    """
    if context is not None:
        reason = context.reason if reason is None else reason
        correlation_id = context.correlation_id if correlation_id is None else correlation_id
    who = f'"actor":{actor},' if actor else ""
    why = ""
    if reason is not None:
        why = f'"reason":"{redactor.label_json(reason, f"{event_type}.reason")}",'
    request = ""
    if correlation_id is not None:
        if len(correlation_id) >= PLAIN_LENGTH or redactor.odd(correlation_id):
            correlation_id = redactor.text_json(correlation_id, f"{event_type}.correlation_id")
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
