"""Capture emitted audit events in memory, for tests.

    with auditlog.testing.capture() as captured:
        drain_pool(captured.log)
    assert captured.events[0]["event_type"] == "pool.drained"

The log checks and redacts like a real one and needs no directory.  With pytest the fixture
``captured_audit`` does the same (auditlog.testing.plugin).

Invariants (tests of the same name in tests/auditlog/testing/test_testing.py):
  like_the_real   an event is recorded, redacted or refused as a log on disk does it
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from auditlog.errors import LogClosed
from auditlog.events.base import Event
from auditlog.events.values import ValueRules
from auditlog.format.record import (
    GENESIS_HASH,
    MAX_RECORD_BYTES,
    decode,
    format_timestamp,
    log_prefix,
    seal,
    too_large,
)
from auditlog.format.segment_names import LogId
from auditlog.reading.event_record import EventRecord
from auditlog.redaction.policy import Policy
from auditlog.writer.disabled import DisabledLog
from auditlog.writer.ticket import Ticket

__all__ = ["Captured", "MemoryLog", "capture"]

_HEAD: Final = ("v", "log", "seq", "prev_hash", "@timestamp", "service", "host", "salt", "hash")
"""Members of a record that say nothing about its event."""


class MemoryLog(DisabledLog):
    """A log that keeps its records in memory.  Any thread may emit."""

    def __init__(self, log_id: LogId, rules: ValueRules, redaction: Policy) -> None:
        super().__init__(log_id, rules, redaction)
        self.records: list[EventRecord] = []
        self._adding = threading.Lock()
        self._prefix = log_prefix(str(log_id))
        self._over = False

    def __repr__(self) -> str:
        return f"<Log {self.id} in memory>"

    def _keep(self, body: bytes) -> Ticket:
        now = format_timestamp(dt.datetime.now(dt.UTC))
        with self._adding:
            if self._over:
                raise LogClosed("the log was closed before this event", hint="Open it again.")
            before = self.records[-1].hash if self.records else GENESIS_HASH
            line, digest = seal(self._prefix, len(self.records) + 1, before, now, body)
            if len(line) > MAX_RECORD_BYTES + 1:
                raise too_large(len(line))
            record = decode(line)
            self.records.append(EventRecord(record.line, record.header))
            return self._done(len(self.records), digest)

    def close(self, timeout: dt.timedelta | float | None = None) -> None:  # noqa: ARG002  (a Log's)
        """Take no more events; what was recorded stays."""
        self._over = True


class Captured:
    """The events that were emitted to ``log``."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log

    def __repr__(self) -> str:
        return f"<Captured {[record.event_type for record in self.records]}>"

    @property
    def records(self) -> list[EventRecord]:
        """The whole records, with their numbers, times and hashes."""
        return list(self.log.records)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Each event as a plain dict: event_type, actor, outcome, details, as they are recorded."""
        return [
            {name: value for name, value in record.fields.items() if name not in _HEAD}
            for record in self.log.records
        ]

    @property
    def typed(self) -> list[Event | None]:
        """Each event as its class, None where no class is defined for its type."""
        return [record.event() for record in self.log.records]

    def of_type(self, event_type: str) -> list[dict[str, Any]]:
        """The events of one type."""
        return [event for event in self.events if event["event_type"] == event_type]

    def clear(self) -> None:
        """Forget what was emitted so far."""
        self.log.records.clear()


@contextmanager
def capture(
    *,
    service: str = "test",
    host: str = "localhost",
    default: Callable[[Any], Any] | None = None,
    strict: bool = False,
    redaction: Policy | None = None,
) -> Iterator[Captured]:
    """Give a log in memory and what is emitted to it; the options are those of auditlog.open."""
    rules = ValueRules(default, strict)
    log = MemoryLog(LogId(service, host, ""), rules, redaction or Policy.default())
    try:
        yield Captured(log)
    finally:
        log.close()
