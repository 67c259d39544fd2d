"""Sign checkpoints in a background thread of the agent.

It is never a reason to end the agent: records are written and shipped whether they are signed or
not.  What goes wrong is an alarm in the log, a reason not to be ready, and a metric.

Invariants (tests of the same name in tests/auditctl/agent/test_evidence.py):
  signs    an agent with a key signs what is written, and what is left when it stops
  apart    a signer that cannot work is told, and ships on
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditlog.durable_fs import Locked
from auditlog.errors import AuditLogError

if TYPE_CHECKING:
    from auditlog.evidence.service import EvidenceService, LogEvidence

__all__ = ["EvidencePart"]

_logger = logging.getLogger("auditlog.evidence")


@dataclass(frozen=True, slots=True)
class EvidenceStatus:
    """How far each log is signed and witnessed; ``trouble`` says why none is signed, else ""."""

    logs: tuple[LogEvidence, ...]
    trouble: str = ""


class EvidencePart:
    """The service in its thread, from start to stop."""

    def __init__(self, service: EvidenceService) -> None:
        self._service = service
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)
        self.trouble = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Sign the remaining records, and return when the signature is durable."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def status(self) -> EvidenceStatus:
        return EvidenceStatus(self._service.status(), self.trouble)

    def unready(self) -> list[str]:
        """Return the reasons why written records may not be signed, one sentence each."""
        reasons = [f"evidence: {self.trouble}"] if self.trouble else []
        return reasons + [
            f"evidence of {each.log}: {each.trouble}"
            for each in self._service.status()
            if each.trouble
        ]

    def _run(self) -> None:
        try:
            self._service.run(self._stop)
        except Locked as error:
            self._end(f"another process signs here ({error.holder})")
        except (AuditLogError, OSError) as error:
            self._end(str(error))

    def _end(self, reason: str) -> None:
        self.trouble = reason
        _logger.error("ALARM nothing is signed any more: %s", reason)
