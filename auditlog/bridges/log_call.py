"""Turn one call of a logging library into the fields of an event.  Pure.

The message becomes the reason, the level the severity, everything else details.  A log call may
hold anything, an event may not: fields that make no record are reduced to some that do, as nothing
that was logged may be lost for its form.

Invariants (tests of the same name in tests/auditlog/bridges/test_log_call.py):
  never_lost   whatever a call holds, its reduced fields make a record
  by_type      an exception gives its type and message, never its traceback or locals
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from auditlog.events.actor import Outcome, Severity
from auditlog.events.reduction import reduced
from auditlog.events.values import exception_fields

if TYPE_CHECKING:
    from auditlog.writer.log import EventFields

__all__ = ["LIBRARYS_LOGGER", "LogCall", "is_librarys", "severity_of"]

LIBRARYS_LOGGER: Final = "auditlog"
"""Logger of this library; its messages must not become events, which would log again."""


def is_librarys(logger: str) -> bool:
    """Whether the logger is this library's own."""
    return logger == LIBRARYS_LOGGER or logger.startswith(f"{LIBRARYS_LOGGER}.")


def severity_of(level: int) -> Severity:
    """The severity of a numeric level of the standard library."""
    if level >= 50:
        return "critical"
    if level >= 40:
        return "error"
    return "warning" if level >= 30 else "info"


class LogCall(NamedTuple):
    """``extra`` is what the caller gave beside the message, by name.

    Of it, ``actor``, ``resource``, ``outcome``, ``correlation_id`` and ``details`` become the
    event's own fields.  Without an outcome, error and critical are failures.
    """

    message: str
    severity: Severity
    logger: str
    extra: Mapping[str, Any]
    exception: BaseException | None = None

    def fields(self) -> EventFields:
        """The event's fields, as they were given; they may not make a record."""
        details = dict(self.extra)
        take = details.pop
        actor, resource = take("actor", None), take("resource", None)
        outcome = take("outcome", None) if "outcome" in details else self._outcome()
        correlation_id = take("correlation_id", None)
        given = take("details", None)
        if given.__class__ is dict or isinstance(given, Mapping):
            details.update(given)
        details["logger"] = self.logger
        if self.exception is not None:
            details["exception"] = exception_fields(self.exception)
        return {
            "actor": actor,
            "resource": resource,
            "outcome": outcome,
            "reason": self.message,
            "severity": self.severity,
            "correlation_id": correlation_id,
            "details": details,
        }

    def reduced(self, event_type: object) -> tuple[str, EventFields]:
        """Return a type and fields that always make a record (see events.reduction)."""
        kept_type, fields = reduced(event_type, self.fields())
        fields.setdefault("outcome", self._outcome())
        return kept_type, cast("EventFields", fields)

    def _outcome(self) -> Outcome:
        return "failure" if self.severity in ("error", "critical") else "success"
