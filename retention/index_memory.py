"""What the last retention run over a sink's indices left behind: when, and under which policy.

    <state_dir>/index-retention.json    one entry for each sink

Invariants (tests of the same name in tests/retention/test_index_run.py):
  remembered   load gives back what save was given
  forgotten    a sink whose indices are not retained any more starts with an announcement again
  unreadable   a file that cannot be understood is an error, not a first run
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from auditlog import _fs
from auditlog.record import format_timestamp, parse_timestamp
from retention.errors import PolicyError, StateDamaged
from retention.index_plan import IndexRun
from retention.last_run import BootClock
from retention.policy import format_duration, parse_duration

if TYPE_CHECKING:
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

    def load(self, sink: str) -> IndexRun | None:
        """None before the first run.  Raises StateDamaged, OSError."""
        entry = self._load_all().get(sink)
        if entry is None:
            return None
        try:
            clock = self._clock()
            same_boot = clock.boot_id == entry["boot_id"]
            uptime = dt.timedelta(seconds=entry["uptime_s"])
            return IndexRun(
                parse_timestamp(entry["at"]),
                parse_duration(entry["delete_after"]),
                entry["target"],
                entry["max_delete_fraction"],
                clock.uptime - uptime if same_boot else None,
            )
        except (ValueError, KeyError, TypeError, PolicyError) as error:
            raise self._damaged(error) from error

    def save(self, policy: IndexPolicy, at: dt.datetime) -> None:
        """Make the run durable.  Call it under the lock.  Raises StateDamaged, OSError."""
        clock = self._clock()
        entry = {
            "at": format_timestamp(at),
            "delete_after": format_duration(policy.delete_after),
            "target": policy.target,
            "max_delete_fraction": policy.max_delete_fraction,
            "boot_id": clock.boot_id,
            "uptime_s": clock.uptime.total_seconds(),
        }
        self._save({**self._load_all(), policy.sink: entry})

    def forget_others(self, sinks: Collection[str]) -> None:
        """Keep only the entries of these sinks.  Raises as save does."""
        entries = self._load_all()
        kept = {sink: entry for sink, entry in entries.items() if sink in sinks}
        if kept != entries:
            self._save(kept)

    def _save(self, entries: dict[str, dict[str, Any]]) -> None:
        content = {"v": 1, "sinks": entries}
        text = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        _fs.replace_durably(self.path, text)

    def _load_all(self) -> dict[str, dict[str, Any]]:
        try:
            return dict(orjson.loads(self.path.read_bytes())["sinks"])
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> StateDamaged:
        return StateDamaged(
            f"the record of the last run over indices cannot be read ({error})",
            path=self.path,
            hint="Remove the file: the next run then only tells what the one after it will do.",
        )
