"""Store the time, policy and sinks of the last successful run.

    <state_dir>/retention.json          one entry for each directory
    <state_dir>/index-retention.json    one entry for each sink whose indices are deleted

The circuit breaker and the schedule depend on it, so it is a durable file of our own and not the
scheduler's.  It is written under the lock of a run.

Invariants (tests of the same name in tests/retention/test_memory.py):
  round_trip   load returns what save was given
  confirmed    a confirmed policy is remembered, and the last success stays as it was
  rebooted     the elapsed time is known within one boot of the host and unknown after it
  unreadable   a file that cannot be understood is an error, not a first run
  forgotten    a sink whose indices are not deleted any more is announced when they are again
"""

from __future__ import annotations

import datetime as dt
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from auditlog import durable_fs
from auditlog.format.record import format_timestamp, parse_timestamp
from retention.breaker import LastIndexRun, LastRun
from retention.errors import PolicyError, StateDamaged
from retention.policy import RetentionPolicy, format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from retention.policy import IndexPolicy

__all__ = ["BootClock", "IndexRunStore", "RunStore"]


@dataclass(frozen=True, slots=True)
class BootClock:
    """Time since boot (CLOCK_BOOTTIME), which cannot be set, and the boot's id."""

    boot_id: str
    uptime: dt.timedelta

    @classmethod
    def read(cls) -> BootClock:
        """Read it from the kernel.  Raises OSError."""
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return cls(boot_id, dt.timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME)))

    def to_json(self) -> dict[str, Any]:
        return {"boot_id": self.boot_id, "uptime_s": self.uptime.total_seconds()}

    def since(self, entry: Mapping[str, Any]) -> dt.timedelta | None:
        """Return the time since an entry got to_json; None when that was in another boot."""
        if self.boot_id != entry["boot_id"]:
            return None
        return self.uptime - dt.timedelta(seconds=entry["uptime_s"])


class _Entries:
    """A durable JSON file with one entry for each key."""

    file_name: ClassVar[str]
    member: ClassVar[str]
    hint: ClassVar[str]

    def __init__(
        self, state_dir: str | os.PathLike[str], clock: Callable[[], BootClock] = BootClock.read
    ) -> None:
        self.path = Path(state_dir) / self.file_name
        self.clock = clock

    def read(self) -> dict[str, dict[str, Any]]:
        """Return all entries, none before the first save.  Raises StateDamaged, OSError."""
        try:
            return dict(orjson.loads(self.path.read_bytes())[self.member])
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise self.damaged(error) from error

    def write(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace all entries durably.  Raises OSError."""
        content = {"v": 1, self.member: entries}
        text = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        durable_fs.replace_durably(self.path, text)

    def put(self, key: str, entry: Mapping[str, Any]) -> None:
        """Add or replace one entry, with the time of this boot."""
        self.write({**self.read(), key: {**entry, **self.clock().to_json()}})

    def damaged(self, error: Exception) -> StateDamaged:
        return StateDamaged(
            f"the record of the last run cannot be read ({error})", path=self.path, hint=self.hint
        )


class RunStore(_Entries):
    """The last runs over directories, in one state directory."""

    file_name = "retention.json"
    member = "directories"
    hint = "Look at the plan (--dry-run), then remove the file; the next run writes it again."

    def load(self, directory: Path) -> LastRun | None:
        """Return the last run; None before the first.  Raises StateDamaged, OSError."""
        entry = self.read().get(str(directory.resolve()))
        if entry is None:
            return None
        try:
            return LastRun(
                parse_timestamp(entry["at"]),
                RetentionPolicy.from_json(entry["policy"]),
                tuple(entry["sinks"]),
                self.clock().since(entry),
            )
        except (ValueError, KeyError, TypeError, PolicyError) as error:
            raise self.damaged(error) from error

    def save(
        self,
        directory: Path,
        at: dt.datetime,
        policy: RetentionPolicy,
        sinks: Sequence[str],
        totals: Mapping[str, int],
    ) -> None:
        """Make a run durable.  Raises StateDamaged, OSError."""
        entry = {
            "at": format_timestamp(at),
            "policy": policy.to_json(),
            "sinks": list(sinks),
            "totals": dict(totals),
        }
        self.put(str(directory.resolve()), entry)

    def confirm(self, directory: Path, policy: RetentionPolicy, sinks: Sequence[str]) -> None:
        """Remember what a person has confirmed in a run that did not succeed.

        The time of the last success stays.  Without one there is nothing that the next run could
        be compared with.  Raises StateDamaged, OSError.
        """
        entries = self.read()
        key = str(directory.resolve())
        if key in entries:
            confirmed = {"policy": policy.to_json(), "sinks": list(sinks)}
            self.write({**entries, key: {**entries[key], **confirmed}})


class IndexRunStore(_Entries):
    """The last runs over the indices of sinks, in one state directory."""

    file_name = "index-retention.json"
    member = "sinks"
    hint = "Remove the file: the next run then only tells what the one after it will do."

    def load(self, sink: str) -> LastIndexRun | None:
        """Return the last run; None before the first.  Raises StateDamaged, OSError."""
        entry = self.read().get(sink)
        if entry is None:
            return None
        try:
            return LastIndexRun(
                parse_timestamp(entry["at"]),
                parse_duration(entry["delete_after"]),
                entry["target"],
                entry["max_delete_fraction"],
                self.clock().since(entry),
            )
        except (ValueError, KeyError, TypeError, PolicyError) as error:
            raise self.damaged(error) from error

    def save(self, policy: IndexPolicy, at: dt.datetime) -> None:
        """Make a run durable.  Raises StateDamaged, OSError."""
        entry = {
            "at": format_timestamp(at),
            "delete_after": format_duration(policy.delete_after),
            "target": policy.target,
            "max_delete_fraction": policy.max_delete_fraction,
        }
        self.put(policy.sink, entry)

    def forget_others(self, sinks: Collection[str]) -> None:
        """Remove the entries of all but these sinks.  Raises StateDamaged, OSError."""
        entries = self.read()
        kept = {sink: entry for sink, entry in entries.items() if sink in sinks}
        if kept != entries:
            self.write(kept)
