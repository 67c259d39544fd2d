"""Move acknowledged alarms from the quarantine to a permanent history.

    <state_dir>/quarantine/acknowledged/<sink>.ndjson

A retry clears no alarm, so a person acknowledges it.  The entry is kept there unchanged, with its
id, who acknowledged it, when and why; if it is met again it is not entered again.

Invariants (tests of the same name in tests/shippers/quarantine/test_acknowledgement.py):
  durable    an alarm leaves the quarantine only once its acknowledgement is on disk
  once       after a kill in between, the next run takes it out and does not enter it again
  alarms     a refused record is not an alarm: it stays until it is delivered
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from auditlog import durable_fs
from auditlog.format.record import format_timestamp
from shippers.errors import QuarantineDamaged
from shippers.quarantine.entry import StoredEntry
from shippers.quarantine.store import changing, history_path, read_entries, take_out

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterator
    from pathlib import Path

__all__ = ["acknowledge", "acknowledged"]


def acknowledge(
    path: Path, ids: Collection[str], *, by: str, reason: str, now: dt.datetime
) -> list[StoredEntry]:
    """Move the alarms with these ids from a quarantine file to its history; returns them.

    Raises ValueError without a name or a reason; Locked, QuarantineDamaged, OSError.
    """
    if not by.strip() or not reason.strip():
        raise ValueError("an acknowledgement needs who and why")
    history = history_path(path)
    answer = {"at": format_timestamp(now), "by": by, "reason": reason}
    durable_fs.make_directory(history.parent)
    with changing(path):
        answered = [entry for entry in read_entries(path) if entry.id in ids and entry.alarm]
        known = {entry.id for entry in acknowledged(path)}
        added = [
            orjson.dumps({"id": entry.id, **entry.fields, "acknowledged": answer}) + b"\n"
            for entry in answered
            if entry.id not in known
        ]
        if added:
            before = history.read_bytes() if history.exists() else b""
            durable_fs.replace_durably(history, before + b"".join(added))
        if answered:
            take_out(path, {entry.id for entry in answered})
    return answered


def acknowledged(path: Path) -> Iterator[StoredEntry]:
    """The history of a quarantine file, oldest first.  Raises QuarantineDamaged, OSError."""
    history = history_path(path)
    if not history.exists():
        return
    offset = 0
    for line in history.read_bytes().splitlines(keepends=True):
        try:
            fields: dict[str, Any] = orjson.loads(line)
            entry = StoredEntry(fields.pop("id"), fields)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise QuarantineDamaged(
                "the line is not an acknowledged entry",
                path=history,
                offset=offset,
                hint="Move the file away; the acknowledgements in it are then no longer known.",
            ) from None
        offset += len(line)
        yield entry
