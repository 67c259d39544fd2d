"""Keep the key of the fingerprints: one per directory of logs, made when the first is needed.

    <dir>/.auditlog/redaction.key    64 hex digits and LF, mode 0600

Whoever has the key can check a guess against a fingerprint, so it never leaves the host unless
somebody copies it to another one, where the same token then has the same fingerprint.  To rotate
it, remove the file and open the logs again.  ``log.opened`` names the key in use by its id.

Invariants (tests of the same name in tests/auditlog/redaction/test_installation_key.py):
  one_key     processes that need it at the same moment get the same key
  private     nobody but the owner can read it
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
        return None if key is None else hmac.digest(key, b"auditlog key id", "sha256").hex()[:12]

    def _read(self) -> bytes | None:
        try:
            text = self.path.read_text("ascii").strip()
        except FileNotFoundError:
            return None
        key = bytes.fromhex(text)
        if len(key) != _KEY_BYTES:
            raise ValueError("the key is not 64 hex digits")
        return key
