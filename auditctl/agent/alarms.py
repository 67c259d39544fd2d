"""Record alarms of continuous verification in the agent's log and in a separate quarantine.

A person answers an alarm as those of shipping: ``auditctl quarantine list`` shows it under the name
``verification``, ``auditctl quarantine acknowledge`` takes it out and keeps it on record.

Invariants (tests of the same name in tests/auditctl/agent/test_alarms.py):
  said       an alarm is one line in the agent's log that begins with ALARM
  kept       it is in the quarantine once, also when it is raised again after a restart
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Final

from auditlog.cursors import CursorStore
from shippers.quarantine.store import Entry, Quarantine

if TYPE_CHECKING:
    from pathlib import Path

    from auditlog.verification.continuous import VerificationAlarm

__all__ = ["AlarmBook"]

_logger = logging.getLogger("auditlog.agent")

_NAME: Final = "verification"


class AlarmBook:
    """The alarms of one state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._quarantine = Quarantine(state_dir, _NAME)
        self._recalled = False

    def enter(self, alarm: VerificationAlarm) -> None:
        """Log the alarm and store it durably; a failure to store it is logged as well."""
        _logger.critical("ALARM %s", alarm)
        entry = Entry(
            kind="chain_break",
            reason=f"{alarm.kind}: {alarm.detail}",
            log=alarm.log or alarm.directory,
            segment=alarm.segment,
            offset=0,
            seq=alarm.seq,
        )
        try:
            if not self._recalled:
                self._quarantine.recall(CursorStore(self._state_dir))
                self._recalled = True
            self._quarantine.add([entry], dt.datetime.now(dt.UTC))
        except OSError as error:
            _logger.error("the alarm cannot be kept in %s: %s", self._quarantine.path, error)  # noqa: TRY400  (the reason is said)
