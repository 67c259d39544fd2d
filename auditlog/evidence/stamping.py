"""Have a log's newest checkpoint time-stamped hourly, in a separate thread.

    <state_dir>/proofs/<log>/timestamps/<size>.checkpoint    what was stamped
    <state_dir>/proofs/<log>/timestamps/<size>.tsr           the authority's reply

An authority that is slow or away holds up nothing, and is asked again later.

Invariants (tests of the same name in tests/auditlog/evidence/test_stamping.py):
  hourly   a checkpoint that is offered is stamped once the last stamp is ``every`` old
  apart    offering one never waits, whatever the authority does
"""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.errors import AuditLogError

if TYPE_CHECKING:
    from pathlib import Path

    from auditlog.evidence.checkpoint_file import Signed
    from auditlog.evidence.timestamp import TimeStampAuthority

__all__ = ["Stamped", "Stamping", "newest_stamp"]

_AGAIN: Final = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Stamped:
    """The size of a checkpoint that was stamped, and when its reply was kept."""

    size: int
    kept_at: dt.datetime
    reply: Path

    @property
    def checkpoint(self) -> Path:
        """The bytes that were stamped."""
        return self.reply.with_suffix(".checkpoint")


def newest_stamp(directory: Path) -> Stamped | None:
    """Of the stamps of a log, the newest.  Raises OSError."""
    found = [
        (int(path.stem), path)
        for path in (directory / "timestamps").glob("*.tsr")
        if path.stem.isdecimal()
    ]
    if not found:
        return None
    size, path = max(found)
    kept_at = dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
    return Stamped(size, kept_at, path)


class Stamping:
    """``offer`` is called from one thread; ``trouble`` says why the last attempt failed, or ""."""

    def __init__(
        self, authority: TimeStampAuthority, every: dt.timedelta = dt.timedelta(hours=1)
    ) -> None:
        self._authority = authority
        self._every = every
        self._thread: threading.Thread | None = None
        self._next_at: dt.datetime | None = None
        self.trouble = ""

    def offer(self, signed: Signed, directory: Path, now: dt.datetime) -> None:
        """Have the checkpoint stamped if that is due; ``directory`` is that of its log."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._next_at is None:
            last = newest_stamp(directory)
            self._next_at = now if last is None else last.kept_at + self._every
        # A clock that was set back does not end the stamping.
        if now < self._next_at <= now + self._every:
            return
        self._next_at = now + min(self._every, _AGAIN)
        self._thread = threading.Thread(
            target=self._stamp, args=(signed, directory, now), name="timestamp", daemon=True
        )
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the attempt that is under way."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _stamp(self, signed: Signed, directory: Path, now: dt.datetime) -> None:
        content, place = signed.note.to_bytes(), directory / "timestamps"
        try:
            stamp = self._authority.stamp(content)
            durable_fs.make_directory(place)
            name = str(signed.checkpoint.size)
            durable_fs.replace_durably(place / f"{name}.checkpoint", content)
            durable_fs.replace_durably(place / f"{name}.tsr", stamp.reply)
        except (AuditLogError, OSError) as error:
            self.trouble = f"the time-stamping authority: {error}"
        else:
            self.trouble = ""
            self._next_at = now + self._every
