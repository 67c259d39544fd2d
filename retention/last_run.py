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

from auditlog.format.record import format_timestamp, parse_timestamp
from retention.errors import PolicyError
from retention.facts import LastRun
from retention.policy import Policy
from retention.state_entries import StateEntries

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

    def to_json(self) -> dict[str, Any]:
        return {"boot_id": self.boot_id, "uptime_s": self.uptime.total_seconds()}

    def since(self, entry: Mapping[str, Any]) -> dt.timedelta | None:
        """The time since to_json went into the entry; None when that was in another boot."""
        if self.boot_id != entry["boot_id"]:
            return None
        return self.uptime - dt.timedelta(seconds=entry["uptime_s"])


class LastRunStore:
    """The last runs kept in one state directory."""

    def __init__(
        self, state_dir: str | os.PathLike[str], clock: Callable[[], BootClock] = BootClock.read
    ) -> None:
        self.path = Path(state_dir) / "retention.json"
        self._clock = clock
        self._entries = StateEntries(
            self.path,
            "directories",
            "the record of the last run",
            "Look at the plan (--dry-run), then remove the file; the next run writes it anew.",
        )

    def load(self, directory: Path) -> LastRun | None:
        """None before the first run.  Raises StateDamaged, OSError."""
        entry = self._entries.load().get(_key(directory))
        if entry is None:
            return None
        try:
            return LastRun(
                parse_timestamp(entry["at"]),
                Policy.from_json(entry["policy"]),
                tuple(entry["sinks"]),
                self._clock().since(entry),
            )
        except (ValueError, KeyError, TypeError, PolicyError) as error:
            raise self._entries.damaged(error) from error

    def save(
        self,
        directory: Path,
        at: dt.datetime,
        policy: Policy,
        sinks: Sequence[str],
        totals: Mapping[str, int],
    ) -> None:
        """Make the run durable.  Call it under the lock.  Raises StateDamaged, OSError."""
        entry = {
            "at": format_timestamp(at),
            "policy": policy.to_json(),
            "sinks": list(sinks),
            "totals": dict(totals),
            **self._clock().to_json(),
        }
        self._entries.save({**self._entries.load(), _key(directory): entry})


def _key(directory: Path) -> str:
    return str(directory.resolve())
