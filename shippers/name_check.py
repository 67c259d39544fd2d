"""Refuse a log of which the sink has records of another installation, before anything is sent.

Their ids would be the same: what the second host sends would count as there already, or raise an
alarm for each record.  Each log is checked before its first delivery, and again after a record of
another hash was found.  A sink that this user may not read cannot be asked; its duplicates are
unverified then, and retention keeps them.

Invariants (tests of the same name in tests/shippers/test_name_check.py):
  before     of a log whose name is taken no record is sent
  again      a log that was checked is so again after an alarm of the sink
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditlog.errors import AuditLogError
from shippers.outcome import DeliveryOutcome, name_taken, retry

if TYPE_CHECKING:
    from shippers.batch import Batch
    from shippers.sinks.protocol import Sink

__all__ = ["NameCheck"]


class NameCheck:
    """Checks the logs of one sink.  Thread-safe."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._checked: set[str] = set()

    def refusal(self, batch: Batch[Any]) -> DeliveryOutcome | None:
        """Return the outcome of every item of a batch that must not be sent; None for others."""
        origin = batch.origin
        if origin is None or batch.log in self._checked or not origin.is_named():
            return None
        try:
            strangers = origin.strangers(self._sink.installations(batch.log))
        except AuditLogError as error:
            return retry(error.reason)
        except OSError as error:
            return retry(f"the files of the log cannot be read: {error.strerror}")
        if not strangers:
            self._checked.add(batch.log)
            return None
        return name_taken(batch.log, min(strangers))

    def repeat(self, log: str) -> None:
        """Check the log again before its next batch."""
        self._checked.discard(log)
