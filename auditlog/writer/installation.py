"""Name the installation that a directory of logs belongs to: a random id, made at the first open.

    <dir>/.auditlog/installation    32 hex digits and LF; readable as the logs are

Two hosts that are given one name would write two logs under the same id.  ``log.opened`` carries
the id of the installation, so that a sink can be asked whose records it has.  It is no secret, and
says nothing about the host.  Further lines name earlier installations whose logs the
directory goes on with, as after a restore; they are written by hand.

Invariants (tests of the same name in tests/auditlog/writer/test_installation.py):
  one_id     logs that are opened at the same moment carry the same id, and keep it
  optional   an id that cannot be made or read is left out, and the log is written
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Final

from auditlog import durable_fs

__all__ = ["INSTALLATION_FILE", "known_installations", "make_installation"]

INSTALLATION_FILE: Final = "installation"
_ID_BYTES: Final = 16
_ID: Final = re.compile(r"[0-9a-f]{32}")

_logger = logging.getLogger("auditlog")


def make_installation(state_directory: Path, file_mode: int) -> str | None:
    """Return the id of the installation, made if there is none; None where that fails."""
    path = state_directory / INSTALLATION_FILE
    try:
        if not (known := known_installations(state_directory)):
            content = os.urandom(_ID_BYTES).hex().encode() + b"\n"
            durable_fs.create_durably(path, content, file_mode)
            known = known_installations(state_directory)
    except OSError as error:
        _logger.warning("%s: the log does not name its installation: %s", path, error.strerror)
        return None
    if not known:
        _logger.warning("%s: the log does not name its installation: it is no id", path)
        return None
    return known[0]


def known_installations(state_directory: Path) -> tuple[str, ...]:
    """Return the ids in the file, this installation's first; none where there is no file.

    Raises OSError.
    """
    try:
        text = (state_directory / INSTALLATION_FILE).read_text("ascii", "replace")
    except FileNotFoundError:
        return ()
    return tuple(line for line in text.splitlines() if _ID.fullmatch(line))
