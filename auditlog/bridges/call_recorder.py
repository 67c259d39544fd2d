"""Record the calls of a logging library in a log, whatever they hold.

A call whose fields make no record is recorded with those that do (bridges.log_call).

Invariants (tests of the same name in tests/auditlog/bridges/test_logging.py):
  strict   when strict, a call that cannot be recorded raises; else the outage is reported once
"""

from __future__ import annotations

from auditlog.bridges.log_call import LogCall
from auditlog.bridges.log_source import GivenLog, LogSource
from auditlog.bridges.outage import Outage
from auditlog.errors import AuditLogError, InvalidEvent

__all__ = ["CallRecorder"]


class CallRecorder:
    """Records for the bridge of this name; any thread may call it."""

    def __init__(self, bridge: str, log: GivenLog, *, strict: bool) -> None:
        self.source = LogSource(log)
        self._outage = Outage(bridge)
        self._strict = strict

    def record(self, event_type: str, call: LogCall) -> None:
        """Emit the call as an event.  Raises AuditLogError or OSError when strict."""
        try:
            try:
                self.source.get().emit(event_type, **call.fields())
            except InvalidEvent:
                kept_type, fields = call.reduced(event_type)
                self.source.get().emit(kept_type, **fields)
        except (AuditLogError, OSError) as error:
            self.source.lost(error)
            if self._strict:
                raise
            self._outage.lost(error)
        else:
            self.source.recorded()
            self._outage.recorded()
