"""Store the fingerprint key of each log directory, created on first use.

    <dir>/.auditlog/redaction.key    64 hex digits and LF, mode 0600

Whoever has the key can check a guess against a fingerprint, so it never leaves the host unless
somebody copies it to another one, where the same token then has the same fingerprint.  After a
rotation the key before is kept as ``redaction.key.<id>``, so that old fingerprints can be compared.
A log goes on with the key that it began with until it is opened again; ``log.opened`` names the key
in use by its id.

Invariants (tests of the same name in tests/auditlog/redaction/test_installation_key.py):
  one_key     processes that need it at the same moment get the same key
  private     nobody but the owner can read it
  rotated     at any instant there is a whole key, and the key before is kept
  optional    without a key that can be read or made, fingerprints are left out, not events
"""

from __future__ import annotations

import hmac
import logging
import os
from pathlib import Path
from typing import Final

from auditlog import durable_fs

__all__ = ["KEY_FILE", "InstallationKey"]

KEY_FILE: Final = "redaction.key"
_KEY_BYTES: Final = 32

_logger = logging.getLogger("auditlog")


class InstallationKey:
    """The key of one directory of logs, in its ``.auditlog``."""

    def __init__(self, state_directory: Path) -> None:
        self.path = state_directory / KEY_FILE
        self._failed = False

    def read_or_make(self) -> bytes | None:
        """The key; None when it can neither be read nor made, which is logged once."""
        if self._failed:
            return None
        try:
            key = self._read()
            if key is None:
                durable_fs.create_durably(self.path, os.urandom(_KEY_BYTES).hex().encode() + b"\n")
                key = self._read()
        except (OSError, ValueError) as error:
            self._failed = True
            _logger.warning(
                "%s: secrets are recorded without fingerprints: the key cannot be used (%s)",
                self.path,
                error.strerror if isinstance(error, OSError) else "it is not 64 hex digits",
            )
            return None
        return key

    def id(self) -> str | None:
        """Return an identifier of the key that reveals nothing about it; None without a key."""
        try:
            key = self._read()
        except (OSError, ValueError):
            return None
        return None if key is None else _id(key)

    def prepare_rotation(self) -> tuple[str, str] | None:
        """Write the next key beside the one in use; return the ids of both.

        None where there is no key yet.  One that a killed run prepared is taken.  Raises
        ValueError for a key that is damaged, OSError.
        """
        key = self._read()
        if key is None:
            return None
        durable_fs.create_durably(self._next, os.urandom(_KEY_BYTES).hex().encode() + b"\n")
        state = self.path.stat()
        if (state.st_uid, state.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(self._next, state.st_uid, state.st_gid)
        return _id(key), _id(_read(self._next))

    def rotate(self) -> None:
        """Keep the key in use under its id, and put the prepared one in its place.

        Raises ValueError, OSError.
        """
        kept = self.path.with_name(f"{KEY_FILE}.{_id(_read(self.path))}")
        durable_fs.create_durably(kept, self.path.read_bytes())
        state = self.path.stat()
        if (state.st_uid, state.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(kept, state.st_uid, state.st_gid)
        durable_fs.rename(self._next, self.path)
        durable_fs.fsync_directory(self.path.parent)

    @property
    def _next(self) -> Path:
        return self.path.with_name(f"{KEY_FILE}.next")

    def _read(self) -> bytes | None:
        try:
            return _read(self.path)
        except FileNotFoundError:
            return None


def _read(path: Path) -> bytes:
    """Raises ValueError where it is no key, OSError."""
    key = bytes.fromhex(path.read_text("ascii").strip())
    if len(key) != _KEY_BYTES:
        raise ValueError("the key is not 64 hex digits")
    return key


def _id(key: bytes) -> str:
    return hmac.digest(key, b"auditlog key id", "sha256").hex()[:12]
