"""Decide whether the records that a sink has of a log are those of this host's log.

Another host may write under the same name, or a log of that name was begun anew after the loss of
a disk.  ``log.opened`` names the installation that wrote it (auditlog.writer.installation).  An id
that the directory's own file does not have is looked for in the log's files, which have it if the
log was restored from the sink.

Invariants (tests of the same name in tests/shippers/sources/audit_log/test_origin.py):
  ours       an id that the file or any segment of the log names is ours, in whatever form it is
  strangers  any other is a stranger's
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from auditlog.format.record import parse_header
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import STATE_DIRECTORY, scan
from auditlog.reading.reader import iter_lines, open_any_form
from auditlog.writer.installation import INSTALLATION_FILE, known_installations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LogOrigin", "installation_of"]

OPENED = "log.opened"


@dataclass(frozen=True, slots=True)
class LogOrigin:
    """The files of one log in a directory."""

    directory: Path
    log: str

    def is_named(self) -> bool:
        """Whether an installation was named here yet; writers before 0.2.0 named none."""
        return (self.directory / STATE_DIRECTORY / INSTALLATION_FILE).exists()

    def strangers(self, installations: frozenset[str]) -> frozenset[str]:
        """Return those of the ids that did not write this log.  Raises AuditLogError, OSError."""
        left = set(installations)
        if left:
            left.difference_update(known_installations(self.directory / STATE_DIRECTORY))
        if left:
            for found in self._named():
                left.discard(found)
                if not left:
                    break
        return frozenset(left)

    def _named(self) -> Iterator[str]:
        """The ids in the log's files, newest segment first."""
        segments = scan(self.directory, self.log).logs.get(LogId.parse(self.log), ())
        for segment in reversed(segments):
            try:
                stream, path = open_any_form(segment)
            except FileNotFoundError:
                continue  # retention has deleted it meanwhile
            with stream:
                for _, line in iter_lines(stream, path=path):
                    if b'"event_type":"log.opened"' in line and (found := installation_of(line)):
                        yield found


def installation_of(line: bytes) -> str:
    """Return the installation that a record of ``log.opened`` names; "" for any other line."""
    header = parse_header(line)
    if header is None or header.event_type != OPENED:
        return ""
    try:
        found = orjson.loads(line)["details"].get("installation")
    except (orjson.JSONDecodeError, KeyError, AttributeError):
        return ""
    return found if isinstance(found, str) else ""
