"""Bind fields shared by all events in a block, and add those that an event lacks.

    with auditlog.bind(correlation_id="req-1", actor=actor):
        log.emit(...)

    auditlog.bind_context(tenant_id=7)   # until unbind_context, or the end of the task or request
    auditlog.unbind_context("tenant_id")

The fields are in a context variable: asyncio tasks inherit them, other threads do not.
``carry_context`` gives them to a function that a thread pool runs.

Invariants (tests of the same name in tests/auditlog/events/test_context.py):
  nests      the inner bind adds to the outer, wins over it, and is gone at its end
  follows    an asyncio task sees what was bound where it was started, and no sibling's
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from auditlog.errors import InvalidEvent
from auditlog.events.actor import Actor, Resource, as_actor, as_resource
from auditlog.events.field_kinds import check_text
from auditlog.events.values import REPLACED, cleaned
from auditlog.redaction.redactor import CHECKER, Redactor

__all__ = [
    "Context",
    "bind",
    "bind_context",
    "carry_context",
    "current",
    "trace_ids",
    "unbind_context",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Context:
    """Fields for events that have none; ``details`` are checked, and redacted for each log."""

    actor: Actor | None = None
    resource: Resource | None = None
    reason: str | None = None
    correlation_id: str | None = None
    details: Mapping[str, Any] | None = field(default=None, repr=False)
    _redacted: tuple[Redactor, Mapping[str, Any]] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def details_for(self, redactor: Redactor) -> Mapping[str, Any]:
        """The details as they stand in records of the redactor's log."""
        redacted = self._redacted
        if redacted is None or redacted[0] is not redactor:
            redacted = (redactor, redactor.clean(self.details or {}, "details"))
            object.__setattr__(self, "_redacted", redacted)
        return redacted[1]


_EMPTY: Final = Context()
_FIELDS: Final = frozenset(("actor", "resource", "reason", "correlation_id", "details"))
_bound: ContextVar[Context | None] = ContextVar("auditlog", default=None)


@contextmanager
def bind(
    *,
    actor: Actor | Mapping[str, Any] | str | None = None,
    resource: Resource | Mapping[str, Any] | None = None,
    reason: str | None = None,
    correlation_id: str | None = None,
    details: Mapping[str, Any] | None = None,
    **more: Any,
) -> Iterator[None]:
    """Fill events emitted inside: each field only where an event has none of its own.

    ``details`` are merged, the event's winning; so are ``more``, which are details given by name.
    Raises InvalidEvent.
    """
    inner = _added(_bound.get(), actor, resource, reason, correlation_id, details, more)
    token = _bound.set(inner)
    try:
        yield
    finally:
        # A framework may start a generator in one context and close it in another, as it does with
        # a dependency in a worker thread: what was bound ended with the first.
        with suppress(ValueError):
            _bound.reset(token)


def bind_context(
    *,
    actor: Actor | Mapping[str, Any] | str | None = None,
    resource: Resource | Mapping[str, Any] | None = None,
    reason: str | None = None,
    correlation_id: str | None = None,
    details: Mapping[str, Any] | None = None,
    **more: Any,
) -> None:
    """Bind as bind does, until unbind_context, or until the task, thread or request ends.

    For code that has no block to put a ``with`` around, such as a dependency of a web framework.
    """
    _bound.set(_added(_bound.get(), actor, resource, reason, correlation_id, details, more))


def unbind_context(*names: str) -> None:
    """Take back fields or keys of details that were bound; without a name, everything."""
    bound = _bound.get()
    if not names or bound is None:
        _bound.set(None)
        return
    fields: dict[str, Any] = dict.fromkeys(_FIELDS.intersection(names))
    details = {key: value for key, value in (bound.details or {}).items() if key not in names}
    _bound.set(replace(bound, **{"details": details or None, **fields}))


def carry_context(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return the function with what is bound here and now, to run in another thread.

    executor.submit(auditlog.carry_context(work), 1)
    """
    bound = _bound.get()

    @wraps(function)
    def carried(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        token = _bound.set(bound)
        try:
            return function(*args, **kwargs)
        finally:
            _bound.reset(token)

    return carried


def _added(  # noqa: PLR0917  (the fields of a context)
    outer: Context | None,
    actor: Any,
    resource: Any,
    reason: Any,
    correlation_id: Any,
    details: Any,
    more: Mapping[str, Any],
) -> Context:
    """Return the bound context updated by the fields that are not None.  Raises InvalidEvent."""
    outer = outer or _EMPTY
    if details is not None and not isinstance(details, Mapping):
        raise InvalidEvent(f"details is {type(details).__name__}, not a mapping")
    kept = outer.details
    if details or more:
        made, replaced = cleaned({**(details or {}), **more}, "details", redactor=CHECKER)
        kept = {**(kept or {}), **made, **({REPLACED: replaced} if replaced else {})}
    return Context(
        actor=outer.actor if actor is None else as_actor(actor),
        resource=outer.resource if resource is None else as_resource(resource),
        reason=outer.reason if reason is None else check_text("reason", reason),
        correlation_id=outer.correlation_id
        if correlation_id is None
        else check_text("correlation_id", correlation_id),
        details=kept,
    )


def current() -> Context | None:
    """Return what is bound here, with the ids of the active trace; None when there is nothing."""
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
