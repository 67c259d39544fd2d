"""What the last retention run over a sink's indices left behind: when, and under which policy.

    <state_dir>/index-retention.json    one entry for each sink

Invariants (tests of the same name in tests/retention/test_index_run.py):
  remembered   load gives back what save was given
  forgotten    a sink whose indices are not retained any more starts with an announcement again
  unreadable   a file that cannot be understood is an error, not a first run
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from auditlog.format.record import format_timestamp, parse_timestamp
from retention.errors import PolicyError
from retention.index_plan import IndexRun
from retention.last_run import BootClock
from retention.policy import format_duration, parse_duration
from retention.state_entries import StateEntries

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Collection

    from retention.index_plan import IndexPolicy

__all__ = ["IndexRunStore"]


class IndexRunStore:
    """The last runs over indices, kept in one state directory."""

    def __init__(
        self, state_dir: str | os.PathLike[str], clock: Callable[[], BootClock] = BootClock.read
    ) -> None:
        self.path = Path(state_dir) / "index-retention.json"
        self._clock = clock
        self._entries = StateEntries(
            self.path,
            "sinks",
            "the record of the last run over indices",
            "Remove the file: the next run then only tells what the one after it will do.",
        )

    def load(self, sink: str) -> IndexRun | None:
        """None before the first run.  Raises StateDamaged, OSError."""
        entry = self._entries.load().get(sink)
        if entry is None:
            return None
        try:
            return IndexRun(
                parse_timestamp(entry["at"]),
                parse_duration(entry["delete_after"]),
                entry["target"],
                entry["max_delete_fraction"],
                self._clock().since(entry),
            )
        except (ValueError, KeyError, TypeError, PolicyError) as error:
            raise self._entries.damaged(error) from error

    def save(self, policy: IndexPolicy, at: dt.datetime) -> None:
        """Make the run durable.  Call it under the lock.  Raises StateDamaged, OSError."""
        entry = {
            "at": format_timestamp(at),
            "delete_after": format_duration(policy.delete_after),
            "target": policy.target,
            "max_delete_fraction": policy.max_delete_fraction,
            **self._clock().to_json(),
        }
        self._entries.save({**self._entries.load(), policy.sink: entry})

    def forget_others(self, sinks: Collection[str]) -> None:
        """Keep only the entries of these sinks.  Raises as save does."""
        entries = self._entries.load()
        kept = {sink: entry for sink, entry in entries.items() if sink in sinks}
        if kept != entries:
            self._entries.save(kept)
