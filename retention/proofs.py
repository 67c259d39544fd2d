"""The retention service's own audit log, ``retention@<host>`` beside the segments it deletes.

It is opened with the first record, so that a run that deletes nothing writes nothing.  Besides
tombstones it holds what else somebody must account for: holds that came and went.

Invariants (tests of the same name in tests/retention/test_proofs.py):
  durable   bury returns only when the tombstone would survive a crash, also one that it found
  once      a segment, an index or a foreign file that has its tombstone already gets no second one
"""

from __future__ import annotations

import datetime as dt
import stat
import time
from typing import TYPE_CHECKING, Any, Final, Self

from auditlog import durable_fs
from auditlog.errors import LogDamaged, LogFailed, LogLocked
from auditlog.format.record import decode
from auditlog.format.tombstones import INDEX_DELETED, SEGMENT_DELETED
from auditlog.reading.deleted_indices import index_tombstones
from auditlog.reading.inventory import scan
from auditlog.reading.reader import iter_lines, open_any_form
from retention.rules import PROOF_SERVICE
from retention.tombstone import FOREIGN_DELETED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from auditlog.writer.log import Log

__all__ = ["HOLD_ADDED", "HOLD_RELEASED", "ProofLog"]

HOLD_ADDED: Final = "retention.hold_added"
HOLD_RELEASED: Final = "retention.hold_released"

_PATIENCE_SECONDS: Final = 3.0
"""How long a full disk may keep a tombstone waiting: a stop has to be heeded within five."""

_RETRY_SECONDS: Final = 0.05

_Key = tuple[str, int, int, str]


class ProofLog:
    """Writes tombstones; a context manager, so that the log is closed."""

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
        self._known: set[_Key] | None = None
        self._known_foreign: set[tuple[str, str]] | None = None
        self._indices: set[tuple[str, str, str]] | None = None
        self._found_durable = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._log is not None:
            self._log.close()

    def bury(self, tombstone: Mapping[str, Any], *, actor: str) -> None:
        """Make the tombstone durable, unless a run that was killed already did.

        Raises AuditLogError (the log is locked, damaged or failed) and OSError; then nothing may
        be deleted.
        """
        key: _Key = (
            tombstone["segment"],
            tombstone["first_seq"],
            tombstone["last_seq"],
            tombstone["last_hash"],
        )
        if key in self._tombstones():
            self._sync_found()
            return
        self.note(SEGMENT_DELETED, ("segment", tombstone["segment"]), tombstone, actor=actor)
        self._tombstones().add(key)

    def bury_foreign(self, tombstone: Mapping[str, Any], *, actor: str) -> None:
        """The same for a file that is no segment: once for each name and content."""
        key = (tombstone["file"], tombstone["sha256"])
        if self._known_foreign is None:
            self._known_foreign = set(_foreign_tombstones(self._directory))
        if key in self._known_foreign:
            self._sync_found()
            return
        self.note(FOREIGN_DELETED, ("file", tombstone["file"]), tombstone, actor=actor)
        self._known_foreign.add(key)

    def bury_index(self, tombstone: Mapping[str, Any], *, actor: str) -> None:
        """As bury, for an index; its uuid tells it from another one of its name."""
        if self._indices is None:
            found = index_tombstones(self._directory)
            self._indices = {(one.sink, one.index, one.uuid) for one in found}
        key = (tombstone["sink"], tombstone["index"], tombstone["uuid"])
        if key in self._indices:
            self._sync_found()
            return
        self.note(INDEX_DELETED, ("index", tombstone["index"]), tombstone, actor=actor)
        self._indices.add(key)

    def note(
        self,
        event_type: str,
        resource: tuple[str, str],
        details: Mapping[str, Any],
        *,
        actor: str,
    ) -> None:
        """Make one record durable.  Raises as bury does."""
        if self._log is None:
            self._log = self._open()
        self._log.emit(
            event_type,
            actor={"user_id": actor, "auth_method": "internal"},
            resource={"resource_type": resource[0], "resource_id": resource[1]},
            details=details,
        )
        try:
            self._log.flush(_PATIENCE_SECONDS)
        except TimeoutError:
            raise LogFailed(
                f"the record of {resource[0]} {resource[1]} is not durable after "
                f"{_PATIENCE_SECONDS:g} s",
                path=self._directory,
                hint="Nothing was deleted. Free some disk space and run retention again.",
            ) from None

    def _sync_found(self) -> None:
        """A run that was killed in bury may have written what was found here, and no more.

        Only the newest segment of a log can hold what is not durable.  Raises OSError.
        """
        if self._found_durable:
            return
        for log, segments in scan(self._directory).logs.items():
            if log.service == PROOF_SERVICE:
                durable_fs.sync_content(segments[-1].path)
        durable_fs.fsync_directory(self._directory)
        self._found_durable = True

    def _open(self) -> Log:
        # Imported here: most runs delete nothing, and need no writer.
        from auditlog.writer.opening import open_log  # noqa: PLC0415  (see above)

        deadline = time.monotonic() + self._patience.total_seconds()
        while True:
            try:
                return open_log(
                    self._directory,
                    service=PROOF_SERVICE,
                    host=self._host,
                    instance=self._instance or None,
                    flush="batched",  # immediate waits for a full disk as long as it takes
                    block_timeout=_PATIENCE_SECONDS,
                    group_readable=bool(self._directory.stat().st_mode & stat.S_IRGRP),
                )
            except LogLocked:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_RETRY_SECONDS)

    def _tombstones(self) -> set[_Key]:
        if self._known is None:
            from auditlog.verification.verify import tombstones_in  # noqa: PLC0415  (as in _open)

            self._known = {
                (found.segment, found.first_seq, found.last_seq, found.last_hash)
                for found in tombstones_in(scan(self._directory).logs)
            }
        return self._known


def _foreign_tombstones(directory: Path) -> Iterator[tuple[str, str]]:
    """Name and digest of each foreign file that has one; what cannot be read proves nothing."""
    marker = f'"event_type":"{FOREIGN_DELETED}"'.encode()
    for log, segments in scan(directory).logs.items():
        if log.service != PROOF_SERVICE:
            continue
        for segment in segments:
            try:
                stream, path = open_any_form(segment)
                with stream:
                    for _, line in iter_lines(stream, path=path):
                        if marker in line:
                            details = decode(line).fields["details"]
                            yield details["file"], details["sha256"]
            except (LogDamaged, FileNotFoundError, KeyError, TypeError):
                continue
