"""Run the upload of finished segments in a thread of the agent.

It is never a reason to end the agent.  Failures are an alarm in the log, a reason not to be ready,
and a metric; retention deletes nothing meanwhile.

Invariants (tests of the same name in tests/auditctl/agent/test_archive.py):
  archives   an agent with an archive uploads what its writers finish
  apart      an archive that refuses is told, and ships and retains on
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shippers.archive.service import ArchiveService
    from shippers.archive.status import ArchiveStatus

__all__ = ["ArchivePart"]

_STOP_SECONDS: Final = 3.0
"""How long a stop waits for an upload; one that is cut off is done again after the next start."""


class ArchivePart:
    """The service in its thread, from start to stop."""

    def __init__(self, service: ArchiveService) -> None:
        self._service = service
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=service.run, args=(self._stop,), name="archive", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_STOP_SECONDS)

    def status(self) -> ArchiveStatus:
        return self._service.status()

    def unready(self) -> list[str]:
        """Return the reasons why finished segments may not be archived, one sentence each."""
        status = self.status()
        reasons = [f"archive: {status.trouble}"] if status.trouble else []
        if status.late:
            reasons.append(
                f"archive: a segment finished at {status.oldest_at:%Y-%m-%dT%H:%M:%SZ} is not"
                " uploaded yet"
            )
        return reasons
