"""Record structlog calls as audit events, with a processor.

    structlog.configure(processors=[merge_contextvars, AuditProcessor(log), JSONRenderer()])
    audit = structlog.wrap_logger(None, processors=[AuditProcessor(log, final=True)])

It stands before whatever renders exceptions.  ``event`` becomes the reason, the method's name the
severity; event_type, actor, resource, outcome, correlation_id and details become the event's own
fields, everything else goes under details.  Structlog itself is needed for ``final`` only.

Invariants (tests of the same name in tests/auditlog/bridges/test_structlog.py):
  passes_on    the processors behind it get what it got
  final        as the last one it ends the chain: nothing is printed
  own_logger   what this library logs itself never becomes an event
  reopened     a log that failed is reopened with growing delays; see auditlog.bridges.log_source
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from auditlog.bridges.call_recorder import CallRecorder
from auditlog.bridges.log_call import LogCall, is_librarys, severity_of
from auditlog.bridges.log_source import GivenLog

__all__ = ["AuditProcessor"]

_LEVELS: Final[Mapping[str, int]] = {
    **{name.lower(): level for name, level in logging.getLevelNamesMapping().items()},
    "exception": logging.ERROR,
}
_STRUCTLOGS_OWN: Final = frozenset(
    {
        "_from_structlog",
        "_name",
        "_record",
        "event",
        "event_type",
        "exc_info",
        "exception",
        "level",
        "level_number",
        "logger",
        "positional_args",
        "stack",
        "stack_info",
        "timestamp",
    }
)


class AuditProcessor:
    """Emits an audit event for each call and hands the event dict on, or with ``final`` drops it.

    ``log`` is an open log, or a function that opens one when the first event comes.
    ``event_type`` is that of calls without a value of this name.  Raises AuditLogError when strict;
    otherwise what cannot be recorded is said once on the logger auditlog.bridges.
    """

    def __init__(
        self,
        log: GivenLog,
        *,
        event_type: str = "app.logged",
        final: bool = False,
        strict: bool = False,
    ) -> None:
        self._recorder = CallRecorder("structlog", log, strict=strict)
        self._event_type = event_type
        self._drop: type[BaseException] | None = None
        if final:
            from structlog import DropEvent  # noqa: PLC0415  (optional: nothing else needs it)

            self._drop = DropEvent

    def __call__(
        self, logger: Any, method_name: str, event_dict: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        name = event_dict.get("logger") or getattr(logger, "name", None)
        name = name if isinstance(name, str) else "structlog"
        if not is_librarys(name):
            event_type = event_dict.get("event_type", self._event_type)
            self._recorder.record(event_type, _call_of(name, method_name, event_dict))
        if self._drop is not None:
            raise self._drop
        return event_dict


def _call_of(logger: str, method_name: str, event_dict: Mapping[str, Any]) -> LogCall:
    level = event_dict.get("level", method_name)
    message = event_dict.get("event", "")
    return LogCall(
        message=message if isinstance(message, str) else f"<{type(message).__qualname__}>",
        severity=severity_of(_LEVELS.get(str(level).lower(), logging.INFO)),
        logger=logger,
        extra={name: value for name, value in event_dict.items() if name not in _STRUCTLOGS_OWN},
        exception=_exception_of(event_dict.get("exc_info")),
    )


def _exception_of(exc_info: object) -> BaseException | None:
    """``exc_info`` may be an exception, a tuple as of sys.exc_info, or anything true."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple) and len(exc_info) == 3:
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exc_info()[1] if exc_info else None
