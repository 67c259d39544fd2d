"""Record calls to the standard logging module as audit events.

    handler = AuditHandler(log)
    logging.getLogger("orders.audit").addHandler(handler)
    logger.warning("pool %s drained", "a", extra={"event_type": "pool.drained", "actor": alice})

``extra`` may hold event_type, actor, resource, outcome, correlation_id and details; everything else
in it goes under details.  The handler takes no lock of its own, so that threads share a commit.

Invariants (tests of the same name in tests/auditlog/bridges/test_logging.py):
  own_logger   what this library logs itself never becomes an event
  strict       with strict=True an event that cannot be recorded raises where it was logged;
               without, it is said once on the logger auditlog.bridges
  reopened     a log that failed is reopened with growing delays; see auditlog.bridges.log_source
"""

from __future__ import annotations

import logging
from itertools import filterfalse
from typing import Any, Final

from auditlog.bridges.call_recorder import CallRecorder
from auditlog.bridges.log_call import LogCall, is_librarys, severity_of
from auditlog.bridges.log_source import GivenLog

__all__ = ["AuditHandler"]

# Asked of each of some thirty attributes of a record, so without a line of Python.
_is_standard: Final = (
    frozenset(logging.makeLogRecord({}).__dict__) | {"asctime", "event_type", "message", "taskName"}
).__contains__


class AuditHandler(logging.Handler):
    """Emits an audit event for each log record it is given.

    ``log`` is an open log, or a function that opens one when the first event comes; closing the
    handler, as logging does at exit, then closes the log.
    ``event_type`` is that of records without an attribute of this name.  A record's level decides
    the severity; in hybrid mode critical ones are made durable at once.
    """

    def __init__(
        self,
        log: GivenLog,
        *,
        event_type: str = "app.logged",
        level: int | str = logging.NOTSET,
        strict: bool = False,
    ) -> None:
        super().__init__(level)
        self._recorder = CallRecorder("logging", log, strict=strict)
        self._event_type = event_type

    def handle(self, record: logging.LogRecord) -> bool:
        """As the base class, without its lock: a log takes calls from every thread at once."""
        found = self.filter(record)
        if found:
            self.emit(found if isinstance(found, logging.LogRecord) else record)
        return bool(found)

    def close(self) -> None:
        """Close the log if the handler opened it."""
        try:
            self._recorder.source.close()
        finally:
            super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Record the call.  Raises AuditLogError when strict."""
        if is_librarys(record.name or ""):
            return
        event_type = getattr(record, "event_type", self._event_type)
        self._recorder.record(event_type, _call_of(record))


def _call_of(record: logging.LogRecord) -> LogCall:
    given = record.__dict__
    extra: dict[str, Any] = {name: given[name] for name in filterfalse(_is_standard, given)}
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001  (wrong arguments, or a __str__ of theirs: keep the template)
        message = str(record.msg) if isinstance(record.msg, str) else type(record.msg).__qualname__
        extra["arguments"] = "do not fit the message"
    return LogCall(
        message=message,
        severity=severity_of(record.levelno),
        logger=record.name or "root",  # a record made by hand may have none
        extra=extra,
        exception=record.exc_info[1] if record.exc_info else None,
    )
