"""Record in a log of the agent's own, every few minutes, that the agent is alive.

    auditlog-agent@<host>      opened when the agent has run for one interval, closed when it stops

The log itself writes the heartbeats (auditlog.writer.heartbeat), with the counts of what was
shipped in between.  They are chained, shipped, kept and proven as any other record is.

Invariants (tests of the same name in tests/auditctl/agent/test_own_log.py):
  beats     each heartbeat has the counts of what was shipped since the one before
  apart     a log that cannot be opened is reported once, tried again, and never ends the agent
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from auditlog.errors import AuditLogError
from auditlog.events.base import AGENT_SERVICE
from auditlog.reading.inventory import home_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from auditlog.format.segment_names import LogId
    from auditlog.writer.log import Log
    from shippers.stats import ShippingStats

__all__ = ["OwnLog", "delivered"]

_PATIENCE_SECONDS: Final = 3.0
"""Longest wait for a full disk: a stop of the agent must take effect within five seconds."""

_logger = logging.getLogger("auditlog.agent")


class OwnLog:
    """The log and the thread that opens it.

    ``totals`` returns figures that only grow; a heartbeat has their increase since the one before.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        log_id: LogId,
        every: dt.timedelta,
        totals: Callable[[], Mapping[str, int]],
    ) -> None:
        self._directories = directories
        self._id = log_id
        self._every = every
        self._totals = totals
        self._before: Mapping[str, int] = {}
        self._stop = threading.Event()
        self._said = ""
        self._log: Log | None = None
        self._thread = threading.Thread(target=self._run, name="own-log", daemon=True)

    def start(self) -> None:
        if self._every:
            self._thread.start()

    def stop(self) -> None:
        """Close the log; a disk that does not answer is waited for three seconds."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE_SECONDS)
        if self._log is not None:
            try:
                self._log.close(_PATIENCE_SECONDS)
            except (AuditLogError, OSError) as error:
                _logger.warning("the agent's own log could not be closed: %s", error)

    def _run(self) -> None:
        while not self._stop.wait(self._every.total_seconds()):
            try:
                self._keep_open()
            except (AuditLogError, OSError) as error:
                if self._said != str(error):
                    self._said = str(error)
                    _logger.warning("the agent's heartbeats are not on record: %s", error)

    def _keep_open(self) -> None:
        """Open the log, also again after it has failed.  Raises AuditLogError, OSError."""
        if self._log is None:
            self._log = self._open()
        else:
            self._log.reopen()

    def _open(self) -> Log:
        from auditlog.writer.heartbeat import Heartbeats  # noqa: PLC0415  (as the next)
        from auditlog.writer.opening import open_own_log  # noqa: PLC0415  (late: most runs of the program write no log)

        directory = home_of(self._id, self._directories)
        self._before = self._totals()
        return open_own_log(
            directory,
            AGENT_SERVICE,
            host=self._id.host,
            instance=self._id.instance,
            patience_seconds=_PATIENCE_SECONDS,
            heartbeat=Heartbeats(self._every, self._counts),
        )

    def _counts(self) -> Mapping[str, int]:
        now, before = self._totals(), self._before
        self._before = now
        return {name: total - before.get(name, 0) for name, total in now.items()}


def delivered(stats: ShippingStats) -> Mapping[str, int]:
    """Return the totals that the agent's heartbeats have: records by their final outcome."""
    totals = stats.totals
    return {name: getattr(totals, name) for name in ("indexed", "duplicate", "quarantined")}
