"""Find logs whose newest record is ahead of the host's clock.

A clock that was ahead when a log was written gives every later record the same time, since a log's
times never go back.  Opened again more than a day ahead, a log goes on in a successor
(``auditlog.writer.opening``), and then nobody has to do anything.

Invariants (tests of the same name in tests/auditctl/survey/test_ahead.py):
  named       a log that is ahead and has no successor is found, with the time of its newest record
  succeeded   a log that goes on in a successor is not found
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final

from auditlog.errors import AuditLogError
from auditlog.reading.reader import bounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditlog.format.segment_names import LogId
    from auditlog.reading.inventory import Inventory

__all__ = ["is_ahead", "logs_ahead"]

_ALLOWED: Final = dt.timedelta(days=1)  # as the writer, which goes on in a successor beyond it
_SUCCESSOR: Final = re.compile(r"-?s[0-9]+")


def is_ahead(inventory: Inventory, log: LogId, newest: dt.datetime, now: dt.datetime) -> bool:
    """Return whether ``newest``, the time of the log's last record, is ahead and needs a person."""
    return newest.date() - now.date() > _ALLOWED and not any(
        (other.service, other.host) == (log.service, log.host)
        and other.instance.startswith(log.instance)
        and _SUCCESSOR.fullmatch(other.instance[len(log.instance) :])
        for other in inventory.logs
    )


def logs_ahead(inventory: Inventory, now: dt.datetime) -> Iterator[tuple[LogId, dt.datetime]]:
    """Yield each log that is ahead, and the time of its newest record.

    A log that cannot be read is left out: verify and status name it.
    """
    for log, segments in inventory.logs.items():
        if dt.datetime.combine(segments[-1].name.day, dt.time(), dt.UTC) < now - dt.timedelta(1):
            continue  # as are nearly all: nothing is read
        try:
            ends = bounds(segments[-1])
        except (AuditLogError, OSError):
            continue
        if ends is not None and is_ahead(inventory, log, ends.last_at, now):
            yield log, ends.last_at
