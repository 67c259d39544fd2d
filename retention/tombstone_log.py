"""Write tombstones and holds to retention's own audit log, ``retention@<host>``.

The log also has the erasures of records, and retired logs.  It lies beside the segments that
retention deletes, and is never deleted itself.  It is opened with the first record, so that a run
that deletes nothing writes nothing.

Invariants (tests of the same name in tests/retention/test_tombstone_log.py):
  durable    write_tombstone returns only when the tombstone would survive a crash, also one that
             it found
  once       what has a tombstone already does not get a second one
  complete   the details of a tombstone are those that auditlog.format.tombstones reads
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from auditlog import durable_fs
from auditlog.errors import LogDamaged, LogFailed, LogLocked
from auditlog.format.erasures import ERASURE
from auditlog.format.record import decode, format_timestamp
from auditlog.format.tombstones import INDEX_DELETED, SEGMENT_DELETED, parse_tombstone
from auditlog.reading.inventory import scan
from auditlog.reading.tombstone_scan import RETENTION_SERVICE, retention_lines
from retention.errors import RetentionError
from retention.holds import Hold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from auditlog.writer.log import Log
    from retention.content import Content
    from retention.policy import IndexPolicy, RetentionPolicy
    from retention.subjects import AdoptedFile, ForeignContent, Index, Segment

__all__ = [
    "FOREIGN_DELETED",
    "HOLD_ADDED",
    "HOLD_RELEASED",
    "KEY_ROTATED",
    "RetentionRun",
    "TombstoneLog",
    "foreign_details",
    "index_details",
    "recorded_holds",
    "segment_details",
]

FOREIGN_DELETED: Final = "retention.foreign_deleted"
HOLD_ADDED: Final = "retention.hold_added"
HOLD_RELEASED: Final = "retention.hold_released"
KEY_ROTATED: Final = "retention.redaction_key_rotated"

_KEYS: Final = {
    SEGMENT_DELETED: ("segment", "first_seq", "last_seq", "last_hash"),
    FOREIGN_DELETED: ("file", "sha256"),
    INDEX_DELETED: ("sink", "index", "uuid"),
    ERASURE: ("log", "seq", "stub_sha256"),
}
"""By event type of a proof, the details that identify what was deleted or erased."""

_RESOURCE_TYPES: Final = {
    SEGMENT_DELETED: "segment",
    FOREIGN_DELETED: "file",
    INDEX_DELETED: "index",
    ERASURE: "record",
}

_TIMEOUT_SECONDS: Final = 3.0
"""Longest wait for a full disk: a stop of the agent must take effect within five seconds."""

_RETRY_SECONDS: Final = 0.05

_TombstoneKey = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetentionRun:
    """The run that deletes, as its tombstones record it, so that others can judge it.

    at           the instant by which ages were counted; ``simulated``: a person gave it
    confirmed    a person let it go on where the circuit breaker refused
    room_bytes   the limit of the directory's size, for a deletion that age alone does not allow
    """

    at: dt.datetime
    simulated: bool = False
    confirmed: bool = False
    room_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        said = {
            "rule": "age" if self.room_bytes is None else "size",
            "at": format_timestamp(self.at),
            "simulated": self.simulated,
            "confirmed": self.confirmed,
        }
        return said if self.room_bytes is None else {**said, "max_total_bytes": self.room_bytes}


def segment_details(
    segment: Segment,
    content: Content,
    *,
    cursor: Mapping[str, int],
    policy: RetentionPolicy,
    run: RetentionRun,
) -> dict[str, Any]:
    """Return the details of a segment's tombstone, except who ordered the deletion (``by``).

    ``cursor`` has the seq that each configured sink acknowledged.
    """
    bounds = content.bounds
    return {
        "log": segment.log,
        "segment": segment.name,
        "first_seq": bounds.first_seq,
        "last_seq": bounds.last_seq,
        "first_prev_hash": bounds.first_prev_hash,
        "last_hash": bounds.last_hash,
        "records": bounds.records,
        "bytes": content.size_bytes,
        "sha256": content.sha256,
        "last_record_at": format_timestamp(bounds.last_at),
        "cursor": dict(sorted(cursor.items())),
        "policy": policy.to_json(),
        **run.to_json(),
        **_tree_details(content),
    }


def _tree_details(content: Content) -> dict[str, Any]:
    if content.tree is None:
        return {}
    return {
        "tree": {
            "first_index": content.bounds.first_seq - 1,
            "size": content.bounds.last_seq,
            "leaves_sha256": content.tree.leaves_sha256,
            "nodes": [node.hex() for node in content.tree.nodes],
        }
    }


def foreign_details(file: AdoptedFile, content: ForeignContent) -> dict[str, Any]:
    """Return the details of a foreign file's tombstone; ``bytes`` are uncompressed."""
    first, last = content.first_at, content.last_at
    return {
        "file": file.name,
        "forms": [file.form_path(form).name for form in file.forms],
        "bytes": content.size_bytes,
        "sha256": content.sha256,
        "lines": content.lines,
        "untimed_lines": content.untimed,
        "first_timestamp": None if first is None else format_timestamp(first),
        "last_timestamp": None if last is None else format_timestamp(last),
        "modified_at": format_timestamp(file.modified_at),
        "shipped": [{"source": each.source, "sink": each.sink} for each in file.progress],
        "policy": file.foreign.to_json(),
    }


def index_details(index: Index, policy: IndexPolicy) -> dict[str, Any]:
    """Return the details of an index's tombstone."""
    return {
        "sink": policy.sink,
        "urls": list(policy.urls),
        "index": index.name,
        "day": None if index.day is None else index.day.isoformat(),
        "uuid": index.uuid,
        "documents": index.documents,
        "bytes": index.size_bytes,
        "policy": policy.to_json(),
    }


class TombstoneLog:
    """The log of tombstones, holds and retired logs.  A context manager, which closes it."""

    def __init__(
        self,
        directory: Path,
        host: str | None,
        instance: str = "",
        *,
        patience: dt.timedelta = dt.timedelta(0),
    ) -> None:
        """``patience`` is how long to wait for another process that writes the log."""
        self._patience = patience
        self._directory = directory
        self._host = host
        self._instance = instance
        self._log: Log | None = None
        self._known: set[_TombstoneKey] | None = None
        self._is_synced = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._log is not None:
            self._log.close()

    def write_tombstone(self, event_type: str, details: Mapping[str, Any], *, actor: str) -> None:
        """Make a tombstone durable, unless a run that was killed already wrote it.

        Raises AuditLogError (the log is locked, damaged or failed) and OSError; then nothing may
        be deleted.
        """
        if self._known is None:
            self._known = set(_tombstones(self._directory))
        key = _key(event_type, details)
        if key in self._known:
            self._sync_found()
            return
        kind = _RESOURCE_TYPES[event_type]
        self.write(event_type, (kind, details[kind]), details, actor=actor)
        self._known.add(key)

    def write(
        self,
        event_type: str,
        resource: tuple[str, str],
        details: Mapping[str, Any],
        *,
        actor: str,
    ) -> None:
        """Make one record durable.  Raises AuditLogError, OSError."""
        if self._log is None:
            self._log = self._open()
        self._log.emit(
            event_type,
            actor={"user_id": actor, "auth_method": "internal"},
            resource={"resource_type": resource[0], "resource_id": resource[1]},
            details=details,
        )
        try:
            self._log.flush(_TIMEOUT_SECONDS)
        except TimeoutError:
            raise LogFailed(
                f"the record of {resource[0]} {resource[1]} is not durable after "
                f"{_TIMEOUT_SECONDS:g} s",
                path=self._directory,
                hint="Nothing was deleted. Free some disk space and run retention again.",
            ) from None

    def _sync_found(self) -> None:
        """Sync a tombstone that was found, which a killed run may have written without syncing.

        Only the newest segment of a log can contain unsynced records.  Raises OSError.
        """
        if self._is_synced:
            return
        for segments in scan(self._directory, f"{RETENTION_SERVICE}@").logs.values():
            durable_fs.sync_content(segments[-1].path)
        durable_fs.fsync_directory(self._directory)
        self._is_synced = True

    def _open(self) -> Log:
        # Imported here since most runs delete nothing, and need no writer.
        from auditlog.writer.opening import open_own_log  # noqa: PLC0415  (see above)

        deadline = time.monotonic() + self._patience.total_seconds()
        while True:
            try:
                return open_own_log(
                    self._directory,
                    RETENTION_SERVICE,
                    host=self._host,
                    instance=self._instance or None,
                    patience_seconds=_TIMEOUT_SECONDS,
                )
            except LogLocked:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_RETRY_SECONDS)


def _tombstones(directory: Path) -> Iterator[_TombstoneKey]:
    """Yield the key of every tombstone in the directory; an invalid one does not count."""
    for header, line in retention_lines(scan(directory, f"{RETENTION_SERVICE}@").logs, *_KEYS):
        if header.event_type == SEGMENT_DELETED and parse_tombstone(header, line) is None:
            continue
        try:
            yield _key(header.event_type, decode(line).fields["details"])
        except (LogDamaged, KeyError, TypeError):
            continue


def recorded_holds(directories: Iterable[Path]) -> tuple[Hold, ...]:
    """Return the holds that were added and not released, as the logs of retention tell.

    A record of a hold that cannot be understood counts as a hold on everything; one that was
    altered proves nothing, and is for auditctl verify to report.  Raises OSError.
    """
    records: list[tuple[str, str, int, str, dict[str, Any]]] = []
    for directory in dict.fromkeys(path.resolve() for path in directories if path.is_dir()):
        logs = scan(directory, f"{RETENTION_SERVICE}@").logs  # 100,000 others may lie beside them
        for header, line in retention_lines(logs, HOLD_ADDED, HOLD_RELEASED):
            try:
                details = decode(line).fields.get("details")
            except LogDamaged:
                continue
            about = details if isinstance(details, dict) else {}
            records.append((header.timestamp, header.log, header.seq, header.event_type, about))
    holds: dict[str, Hold] = {}
    for timestamp, log, seq, event_type, details in sorted(records, key=lambda found: found[:3]):
        hold_id = str(details.get("id"))
        if event_type == HOLD_RELEASED:
            holds.pop(hold_id, None)
            continue
        try:
            holds[hold_id] = Hold.from_json(details)
        except (ValueError, TypeError, RetentionError):
            reason = f"record {seq} of {log} of {timestamp} cannot be understood"
            holds[hold_id] = Hold(f"unreadable-{seq}", "unknown", reason)
    return tuple(holds.values())


def _key(event_type: str, details: Mapping[str, Any]) -> _TombstoneKey:
    return (event_type, *(str(details[member]) for member in _KEYS[event_type]))
