"""What the last retention run left behind: when, under which policy, for which sinks.

    <state_dir>/retention.json    one entry for each directory

It is the memory of the circuit breaker and of the schedule, so it is our own durable file and not
the scheduler's.

Invariants (tests of the same name in tests/retention/test_last_run.py):
  round_trip   load gives back what save was given
  rebooted     the elapsed time is known within one boot of the host and unknown after
  unreadable   a file that cannot be understood is an error, not a first run
"""

from __future__ import annotations

import datetime as dt
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from auditlog import _fs
from auditlog.record import format_timestamp, parse_timestamp
from retention.errors import PolicyError, StateDamaged
from retention.facts import LastRun
from retention.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["BootClock", "LastRunStore"]


@dataclass(frozen=True, slots=True)
class BootClock:
    """A clock that nobody can set: which boot of the host, and how long since."""

    boot_id: str
    uptime: dt.timedelta

    @classmethod
    def read(cls) -> BootClock:
        """Raises OSError where the kernel tells no boot id."""
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return cls(boot_id, dt.timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME)))


class LastRunStore:
    """The last runs kept in one state directory."""

    def __init__(
        self, state_dir: str | os.PathLike[str], clock: Callable[[], BootClock] = BootClock.read
    ) -> None:
        self.path = Path(state_dir) / "retention.json"
        self._clock = clock

    def load(self, directory: Path) -> LastRun | None:
        """None before the first run.  Raises StateDamaged, OSError."""
        entry = self._load_all().get(_key(directory))
        if entry is None:
            return None
        try:
            clock = self._clock()
            elapsed = None
            if clock.boot_id == entry["boot_id"]:
                elapsed = clock.uptime - dt.timedelta(seconds=entry["uptime_s"])
            return LastRun(
                parse_timestamp(entry["at"]),
                Policy.from_json(entry["policy"]),
                tuple(entry["sinks"]),
                elapsed,
            )
        except (ValueError, KeyError, TypeError, PolicyError) as error:
            raise self._damaged(error) from error

    def save(
        self,
        directory: Path,
        at: dt.datetime,
        policy: Policy,
        sinks: Sequence[str],
        totals: Mapping[str, int],
    ) -> None:
        """Make the run durable.  Call it under the lock.  Raises StateDamaged, OSError."""
        clock = self._clock()
        entry = {
            "at": format_timestamp(at),
            "policy": policy.to_json(),
            "sinks": list(sinks),
            "totals": dict(totals),
            "boot_id": clock.boot_id,
            "uptime_s": clock.uptime.total_seconds(),
        }
        content = {"v": 1, "directories": {**self._load_all(), _key(directory): entry}}
        text = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        _fs.replace_durably(self.path, text)

    def _load_all(self) -> dict[str, dict[str, Any]]:
        try:
            return dict(orjson.loads(self.path.read_bytes())["directories"])
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> StateDamaged:
        return StateDamaged(
            f"the record of the last run cannot be read ({error})",
            path=self.path,
            hint="Look at the plan (--dry-run), then remove the file; the next run writes it anew.",
        )


def _key(directory: Path) -> str:
    return str(directory.resolve())
