"""Log the delivery state of one sink, without repeating a condition.

Invariants (tests of the same name in tests/shippers/test_reporter.py):
  once      a condition that does not change is logged once, and its end is logged too
  rarely    a trouble that keeps changing is logged every ten seconds at most
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from shippers.outcome import OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shippers.batch import Batch
    from shippers.outcome import DeliveryOutcome
    from shippers.sinks.protocol import Sink

__all__ = ["Reporter"]

_logger = logging.getLogger("auditlog.shippers")

_SAY_SECONDS: Final = 10.0  # a condition that keeps changing would fill the journal


class Reporter:
    """Reports for one delivery loop, which is its only caller and may give up.

    ``trouble`` is why the sink takes nothing at the moment, ``unsaved`` why its cursors cannot be
    saved; each is "" when there is no such reason.
    """

    def __init__(
        self,
        sink: Sink,
        clock: Callable[[], float] = time.monotonic,
        *,
        give_up_seconds: float | None = None,
    ) -> None:
        self.trouble = ""
        self._sink = sink
        self._clock = clock
        self._patience = (
            "until it works"
            if give_up_seconds is None
            else f"until nothing was accepted for {give_up_seconds:g} s"
        )
        self._said_at = -_SAY_SECONDS
        self.unsaved = ""
        self._taken: set[str] = set()

    def unreadable(self, log: str, error: Exception, before: str) -> None:
        """Report that a log cannot be read; ``before`` is its trouble until now."""
        if str(error) != before:
            _logger.error("cannot read the log %s: %s", log, error)

    def read(self, log: str, batch: Batch[Any]) -> None:
        """Report the alarms in a batch that was read."""
        for alarm in batch.alarms:
            _logger.error(
                "ALARM: the log %s is not as it was written: %s at byte %d of %s (%s)",
                log,
                alarm.kind,
                alarm.offset,
                alarm.segment,
                alarm.detail,
            )

    def settled(self, log: str, outcomes: Sequence[DeliveryOutcome]) -> None:
        """Report the outcomes of a batch."""
        retried = next((outcome for outcome in outcomes if not outcome.final), None)
        if retried is not None and retried.name_taken:
            if log not in self._taken:
                self._taken.add(log)
                _logger.error("ALARM: sink %s: %s", self._sink.name, retried.reason)
        elif retried is not None:
            self._troubled(retried.reason)
        elif self.trouble and outcomes:
            self.trouble = ""
            _logger.info("sink %s (%s) accepts records again", self._sink.name, self._sink.address)
        refused = [outcome for outcome in outcomes if outcome.kind is OutcomeKind.QUARANTINED]
        if refused:
            _logger.log(
                logging.ERROR if any(outcome.alarm for outcome in refused) else logging.WARNING,
                "sink %s: %d record(s) of %s went to quarantine (%s)",
                self._sink.name,
                len(refused),
                log,
                refused[0].reason,
            )

    def saved(self, error: OSError | None) -> None:
        """Report whether cursors could be saved."""
        if error is not None and not self.unsaved:
            _logger.warning("cursors cannot be saved, so records are sent again: %s", error)
        self.unsaved = "" if error is None else f"its cursors cannot be saved: {error.strerror}"

    def _troubled(self, reason: str) -> None:
        changed, self.trouble = self.trouble != reason, reason
        now = self._clock()
        if changed and now >= self._said_at + _SAY_SECONDS:
            self._said_at = now
            _logger.warning(
                "sink %s (%s): %s; trying again %s",
                self._sink.name,
                self._sink.address,
                reason,
                self._patience,
            )
