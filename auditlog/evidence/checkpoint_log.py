"""Record signed checkpoints in the log ``evidence@<host>``, so that they reach every sink.

Invariants (tests of the same name in tests/auditlog/evidence/test_checkpoint_log.py):
  recorded     each checkpoint is one record, with the note as its lines
  unwritable   a directory that cannot be written costs the record, and is said once
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from auditlog.errors import AuditLogError
from auditlog.evidence.collection import CHECKPOINT_SERVICE, place_of_record
from auditlog.evidence.note import encode_base64

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditlog.evidence.checkpoint_file import Signed
    from auditlog.writer.log import Log

__all__ = ["CheckpointLog"]

_logger = logging.getLogger("auditlog.evidence")

_PATIENCE_SECONDS: Final = 3.0


class CheckpointLog:
    """The log, which is opened with its first record, and again with the first one after close."""

    def __init__(self, directories: Sequence[Path], host: str | None) -> None:
        self._directories = tuple(directories)
        self._host = host
        self._log: Log | None = None
        self._trouble = ""

    def record(self, log: str, signed: Signed) -> None:
        """Record a checkpoint of another log; one that cannot be recorded is told of."""
        try:
            self._log = self._log or self._open()
            self._log.emit(
                "evidence.checkpoint",
                actor={"user_id": "auditlog", "auth_method": "internal"},
                resource={"resource_type": "log", "resource_id": log},
                details={
                    "origin": signed.checkpoint.origin,
                    "size": signed.checkpoint.size,
                    "root": encode_base64(signed.checkpoint.root),
                    "note": signed.note.lines(),
                },
            )
            self._log.flush(_PATIENCE_SECONDS)
        except (AuditLogError, OSError, TimeoutError) as error:
            if str(error) != self._trouble:  # a read-only directory stays read-only
                _logger.warning("checkpoints are signed, and not on record: %s", error)
            self._trouble = str(error)
        else:
            self._trouble = ""

    def close(self) -> None:
        """Close the log, if it is open."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _open(self) -> Log:
        from auditlog.writer.opening import open_own_log  # noqa: PLC0415  (only who signs needs it)

        return open_own_log(
            place_of_record(self._directories, self._host),
            CHECKPOINT_SERVICE,
            host=self._host,
            patience_seconds=_PATIENCE_SECONDS,
        )
