"""Report the start and the end of an outage in recording, once each.

A bridge that continues without the log must not be silent, and must not write a line for every
event either: the disk that failed the log is often the one that the lines go to.

Invariants (tests of the same name in tests/auditlog/bridges/test_outage.py):
  said_once   one error when it begins, one warning with the number of events when it ends
"""

from __future__ import annotations

import logging
import threading

__all__ = ["Outage"]

_logger = logging.getLogger("auditlog.bridges")


class Outage:
    """The time in which a bridge cannot record; any thread may report."""

    def __init__(self, bridge: str) -> None:
        self._bridge = bridge
        self._lost = 0
        self._lock = threading.Lock()

    def lost(self, error: Exception) -> None:
        """Report an event that was not recorded, or is not known to be durable."""
        with self._lock:
            self._lost += 1
            first = self._lost == 1
        if first:
            said = str(error) or type(error).__name__
            _logger.error("%s: events are not recorded: %s", self._bridge, said)

    def recorded(self) -> None:
        """End the outage: an event was recorded."""
        if not self._lost:
            return
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            _logger.warning("%s: events are recorded again; %d were not", self._bridge, lost)
