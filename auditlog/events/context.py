"""What is true of every event in a piece of code: bound once, filled in where an event lacks it.

    with auditlog.bind(correlation_id="req-1", actor=actor):
        log.emit(…)

It lives in a context variable, so it follows asyncio tasks and never leaks into other threads.

Invariants (tests of the same name in tests/auditlog/events/test_context.py):
  nests      the inner bind adds to the outer, wins over it, and is gone at its end
  follows    an asyncio task sees what was bound where it was started, and no sibling's
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final

from auditlog.errors import InvalidEvent
from auditlog.events.actor import Actor, Resource, as_actor, as_resource
from auditlog.redaction.cleaning import clean

__all__ = ["Context", "bind", "current", "trace_ids"]


@dataclass(frozen=True, slots=True)
class Context:
    """Fields for events that lack them; ``details`` is checked and cleaned already."""

    actor: Actor | None = None
    resource: Resource | None = None
    reason: str | None = None
    correlation_id: str | None = None
    details: Mapping[str, Any] | None = None


_EMPTY: Final = Context()
_bound: ContextVar[Context | None] = ContextVar("auditlog", default=None)


@contextmanager
def bind(
    *,
    actor: Actor | Mapping[str, Any] | None = None,
    resource: Resource | Mapping[str, Any] | None = None,
    reason: str | None = None,
    correlation_id: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """Fill events emitted inside: each field only where an event has none of its own.

    ``details`` are merged, the event's winning.  Raises InvalidEvent.
    """
    outer = _bound.get() or _EMPTY
    for name, text in (("reason", reason), ("correlation_id", correlation_id)):
        if text is not None and not isinstance(text, str):
            raise InvalidEvent(f"{name} is {type(text).__name__}, not a string")
    if details is not None and not isinstance(details, Mapping):
        raise InvalidEvent(f"details is {type(details).__name__}, not a mapping")
    inner = Context(
        actor=outer.actor if actor is None else as_actor(actor),
        resource=outer.resource if resource is None else as_resource(resource),
        reason=outer.reason if reason is None else reason,
        correlation_id=outer.correlation_id if correlation_id is None else correlation_id,
        details=outer.details
        if details is None
        else {**(outer.details or {}), **clean(details, "details")},
    )
    token = _bound.set(inner)
    try:
        yield
    finally:
        _bound.reset(token)


def current() -> Context | None:
    """What is bound here and now, with the ids of the active trace; None when there is nothing."""
    bound = _bound.get()
    if "opentelemetry.trace" in sys.modules and (ids := trace_ids()) is not None:
        bound = bound or _EMPTY
        return replace(bound, details={**(bound.details or {}), **ids})
    return bound


def trace_ids() -> dict[str, str] | None:
    """trace_id and span_id of OpenTelemetry's active span, if it is loaded and there is one.

    Never imports it: a program that traces has done so itself.
    """
    tracing = sys.modules.get("opentelemetry.trace")
    if tracing is None:
        return None
    span = tracing.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
