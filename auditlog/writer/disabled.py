"""Validate events and write nothing: flush="disabled", for tools that need no trail.

Invariants (tests of the same name in tests/auditlog/writer/test_disabled.py):
  no_directory   nothing is created, opened or checked on disk
  checked        an event that a log would refuse is refused
"""

from __future__ import annotations

import datetime as dt
from typing import Unpack

from auditlog.events.base import Event
from auditlog.events.body import service_host
from auditlog.events.context import current
from auditlog.events.encode import EventEncoder
from auditlog.events.values import ValueRules
from auditlog.format.record import GENESIS_HASH
from auditlog.format.segment_names import LogId, SegmentName
from auditlog.redaction.policy import Policy
from auditlog.redaction.redactor import Redactor
from auditlog.writer.log import EventFields, Log
from auditlog.writer.stats import Stats
from auditlog.writer.ticket import Commit, Ticket

__all__ = ["DisabledLog"]


class DisabledLog(Log):
    """Checks each event as a log does, writes nothing, and needs no directory."""

    def __init__(self, log_id: LogId, rules: ValueRules, redaction: Policy) -> None:
        self.id = log_id
        me = service_host(log_id.service, log_id.host)
        self._encode = EventEncoder(me, rules, Redactor(redaction)).encode
        self._commit = Commit(SegmentName(log_id, dt.date(1970, 1, 1), 1), 0, 1)
        self._commit.done = True
        self._ticket = self._done(0, GENESIS_HASH)

    def __repr__(self) -> str:
        return f"<Log {self.id} disabled>"

    def emit(
        self,
        event: Event | str,
        *,
        durable: bool = False,
        timeout: dt.timedelta | float | None = None,
        **fields: Unpack[EventFields],
    ) -> Ticket:
        return self._keep(self._encode(event, fields, current())[0])

    async def aemit(
        self,
        event: Event | str,
        *,
        timeout: dt.timedelta | float | None = None,
        **fields: Unpack[EventFields],
    ) -> Ticket:
        return self.emit(event, **fields)

    def _keep(self, body: bytes) -> Ticket:
        """Drop the record."""
        return self._ticket

    def _done(self, seq: int, record_hash: str) -> Ticket:
        """A ticket of a record that is as durable as it will be."""
        return Ticket(self._commit, lambda _commit, _timeout: True, seq, record_hash)

    def flush(self, timeout: dt.timedelta | float | None = None) -> None:
        """Return at once: no event is ever queued."""

    def close(self, timeout: dt.timedelta | float | None = None) -> None:
        """Return at once: no file is open."""

    def reopen(self) -> None:
        """Return at once: there is no file to open again."""

    def disown(self) -> None:
        """Return at once: a forked child inherits no lock and no file."""

    def stats(self) -> Stats:
        return Stats(
            log=str(self.id),
            queued=0,
            queued_bytes=0,
            written=0,
            durable=0,
            durable_bytes=0,
            refused=0,
            commits=0,
            last_commit_seconds=0.0,
            commit_p99_seconds=0.0,
            last_seq=0,
            durable_seq=0,
            space="ok",
            failed=False,
        )
