"""The service's audit log, and what becomes of work that cannot be recorded.

With fail_closed, ``record`` raises Unrecorded, which a client sees as 503, and nothing is done.
Without, the work goes on and the outage is said once.  A log that failed for good is opened again
by a new process: ``failed`` tells the server to end, and systemd starts it anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import auditlog
from auditlog.bridges.outage import Outage
from auditlog.errors import ForkedLog, LogClosed, LogFailed

if TYPE_CHECKING:
    from auditlog.events.vocabulary import Event
    from rbee.settings import Settings

__all__ = ["Trail", "Unrecorded"]


class Unrecorded(Exception):
    """The request cannot be recorded, so it is not carried out."""


class Trail:
    """One service's log, opened when the service starts."""

    def __init__(self, service: str, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._log: auditlog.Log | None = None
        self._outage = Outage(service)
        self.failed = asyncio.Event()

    def open(self) -> auditlog.Log:
        """The log, opened once.  Raises what auditlog.open raises."""
        if self._log is None:
            self._log = auditlog.open(
                self._settings.audit_dir,
                service=self._service,
                host=self._settings.host_name,
                flush="hybrid",
                block_timeout=self._settings.record_timeout,
                group_readable=True,  # the shipper is another user
            )
        return self._log

    async def record(self, event: Event) -> None:
        """Return when the event is durable.  Raises Unrecorded with fail_closed."""
        try:
            async with asyncio.timeout(self._settings.record_timeout):
                await self.open().aemit(event)
        except (auditlog.AuditLogError, OSError) as error:  # a TimeoutError is an OSError, too
            self._lost(error)
            if self._settings.fail_closed:
                raise Unrecorded from error
        else:
            self._outage.recorded()

    async def report(self, event: Event) -> None:
        """Return when an event that cannot be refused any more is durable, or was lost and said so.

        For critical events in a coroutine: ``note`` would wait for the disk, and the loop with it.
        """
        with contextlib.suppress(Unrecorded):
            await self.record(event)

    def note(self, event: Event) -> None:
        """Queue an event about what has happened already and cannot be refused any more."""
        try:
            self.open().emit(event)
        except (auditlog.AuditLogError, OSError) as error:
            self._lost(error)

    def ready(self) -> bool:
        """Whether the log takes events."""
        return self._log is not None and not self._log.stats().failed

    def _lost(self, error: Exception) -> None:
        self._outage.lost(error)
        if isinstance(error, (LogFailed, LogClosed, ForkedLog)) and self._settings.fail_closed:
            self.failed.set()
