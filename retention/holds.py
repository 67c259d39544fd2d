"""Store legal holds: which records must be kept, who asked for it, why, and until when.

    <state_dir>/holds.json    a cache of what the logs of retention say, see HoldStore

A hold keeps every whole segment that may contain a matching record: of a log that its pattern
matches, in its time range.  Segments are matched by whole UTC days, so that a clock that was set
back within a day cannot move a record out of a hold's range.  A hold by actor or correlation id
keeps the segments that contain such a record, which retention.matching finds by reading them.

Invariants (tests of the same name in tests/retention/test_holds.py):
  round_trip   load returns what add was given
  never_lost   an unreadable file is an error, not an empty list
  expired      a hold protects until expires_at and not after; without one, until released
  recorded     a hold whose release is not on record is in force, also without the file
"""

from __future__ import annotations

import datetime as dt
import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from auditlog import durable_fs
from auditlog.format.record import format_timestamp, parse_timestamp
from retention.errors import RetentionError, StateDamaged
from retention.lock import locked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

__all__ = ["Hold", "HoldStore"]

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_INSTANTS: Final = ("from_at", "until_at", "expires_at")
_MEMBERS: Final = ("id", "owner", "reason", "logs", *_INSTANTS, "actor", "correlation_id")


@dataclass(frozen=True, slots=True)
class Hold:
    """One legal hold.

    logs                      glob over log ids
    from_at, until_at         bounds of the records' time (included, excluded); None: unbounded
    expires_at                when it ends; None: when it is released
    actor, correlation_id     only segments with a record of this user_id, of this correlation id,
                              or, where both are given, with a record that has both

    Raises RetentionError.
    """

    id: str
    owner: str
    reason: str
    logs: str = "*"
    from_at: dt.datetime | None = None
    until_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    actor: str | None = None
    correlation_id: str | None = None

    def __post_init__(self) -> None:
        if _ID.fullmatch(self.id) is None:
            raise RetentionError(
                f"the hold id {self.id!r} is not usable",
                hint="Letters, digits, dot, underscore and hyphen are allowed, up to 100.",
            )
        for name in ("owner", "reason", "logs"):
            if not getattr(self, name).strip():
                raise RetentionError(
                    f"the hold {self.id} has no {name}",
                    hint="Whoever releases it must know who asked for it, and why.",
                )
        for name in ("actor", "correlation_id"):
            if (value := getattr(self, name)) is not None and not value.strip():
                raise RetentionError(
                    f"{name} of the hold {self.id} is empty",
                    hint="Leave it out to hold everything.",
                )
        for name in _INSTANTS:
            at = getattr(self, name)
            if at is not None and at.utcoffset() is None:
                raise RetentionError(f"{name} of the hold {self.id} has no time zone")
        if self.from_at and self.until_at and self.until_at <= self.from_at:
            raise RetentionError(f"the hold {self.id} ends before it begins")

    @property
    def reads_records(self) -> bool:
        """Whether a segment must be read to find out if the hold applies."""
        return self.actor is not None or self.correlation_id is not None

    def in_force(self, now: dt.datetime) -> bool:
        return self.expires_at is None or now < self.expires_at

    def covers(self, log: str, first_at: dt.datetime, last_at: dt.datetime) -> bool:
        """Whether records of the log between the two instants may match."""
        return fnmatchcase(log, self.logs) and self.covers_time(first_at, last_at)

    def covers_time(self, first_at: dt.datetime, last_at: dt.datetime) -> bool:
        """Whether records of any log between the two instants may match."""
        return (self.from_at is None or last_at >= self.from_at) and (
            self.until_at is None or first_at < self.until_at
        )

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Hold:
        """Do the reverse of to_json.  Raises RetentionError; TypeError, ValueError for others."""
        given: dict[str, Any] = {name: fields.get(name) for name in _MEMBERS}
        for name in _INSTANTS:
            given[name] = None if given[name] is None else parse_timestamp(given[name])
        if not all(isinstance(given[name], str) for name in ("id", "owner", "reason", "logs")):
            raise TypeError("the id, owner, reason or logs of a hold is not text")
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "owner": self.owner,
            "reason": self.reason,
            "logs": self.logs,
            **{
                name: None if (at := getattr(self, name)) is None else format_timestamp(at)
                for name in _INSTANTS
            },
            "actor": self.actor,
            "correlation_id": self.correlation_id,
        }


class HoldStore:
    """The holds of one state directory, and those that are on record.

    ``recorded`` are the holds in the logs of retention (tombstone_log.recorded_holds).  They are
    the truth, and the file is their cache: a hold that was recorded and not released is in
    force also where the file was lost.  A hold in the file alone is in force as well, since adding
    one writes the file first.
    """

    def __init__(self, state_dir: str | os.PathLike[str], recorded: Iterable[Hold] = ()) -> None:
        self.path = Path(state_dir) / "holds.json"
        self._recorded = tuple(recorded)

    def load(self) -> tuple[Hold, ...]:
        """Return all holds, also expired ones.

        Raises StateDamaged when the file or one of its holds cannot be understood, OSError.
        """
        stored = self._stored()
        return (*stored, *(hold for hold in self._recorded if hold not in stored))

    def differences(self) -> tuple[str, ...]:
        """Say which holds are only in the file, and which only on record.  Raises as load does."""
        stored = self._stored()
        unrecorded = [hold.id for hold in stored if hold not in self._recorded]
        lost = [hold.id for hold in self._recorded if hold not in stored]
        return (
            *(f"hold {each} is in {self.path} and not on record" for each in unrecorded),
            *(f"hold {each} is on record and not in {self.path}" for each in lost),
        )

    def _stored(self) -> tuple[Hold, ...]:
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return ()
        try:
            return tuple(Hold.from_json(fields) for fields in orjson.loads(text)["holds"])
        except (ValueError, KeyError, TypeError, AttributeError, RetentionError) as error:
            raise StateDamaged(
                f"the holds cannot be read ({error})",
                path=self.path,
                hint="Nothing is compressed or deleted until the file is repaired.",
            ) from error

    def add(self, hold: Hold) -> None:
        """Store a hold durably.  Raises RetentionError when the id is taken, Busy, OSError."""
        with self._lock():
            if any(other.id == hold.id for other in self.load()):
                raise RetentionError(
                    f"there is a hold {hold.id} already", path=self.path, hint="Choose another id."
                )
            self._save((*self._stored(), hold))

    def get(self, hold_id: str) -> Hold:
        """Return one hold.  Raises RetentionError when there is none, StateDamaged, OSError."""
        for hold in self.load():
            if hold.id == hold_id:
                return hold
        raise RetentionError(
            f"there is no hold {hold_id!r}", path=self.path, hint="auditctl hold list shows them."
        )

    def release(self, hold_id: str) -> Hold:
        """Remove a hold from the file and return it.  Raises as get does, Busy."""
        with self._lock():
            released = self.get(hold_id)
            holds = self._stored()
            kept = tuple(hold for hold in holds if hold.id != hold_id)
            if kept != holds:  # else it is on record alone
                self._save(kept)
            return released

    def _save(self, holds: tuple[Hold, ...]) -> None:
        content = {"v": 1, "holds": [hold.to_json() for hold in holds]}
        text = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        durable_fs.replace_durably(self.path, text)

    def _lock(self) -> AbstractContextManager[None]:
        return locked(self.path.with_name("holds.lock"))
