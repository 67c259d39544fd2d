"""A small durable file of what runs leave behind for the next one: an entry under each key.

Invariants (tests of the same name in tests/retention/test_state_entries.py):
  round_trip   load gives back what save was given
  unreadable   a file that cannot be understood is an error, not an empty one
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from auditlog import durable_fs
from retention.errors import StateDamaged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["StateEntries"]


@dataclass(frozen=True, slots=True)
class StateEntries:
    """``member`` of the file's object has the entries; ``what`` and ``hint`` are for people."""

    path: Path
    member: str
    what: str
    hint: str

    def load(self) -> dict[str, dict[str, Any]]:
        """None at all before the first save.  Raises StateDamaged, OSError."""
        try:
            return dict(orjson.loads(self.path.read_bytes())[self.member])
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise self.damaged(error) from error

    def save(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Make them durable.  Raises OSError."""
        content = {"v": 1, self.member: entries}
        text = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        durable_fs.replace_durably(self.path, text)

    def damaged(self, error: Exception) -> StateDamaged:
        """What to raise where an entry cannot be understood."""
        return StateDamaged(f"{self.what} cannot be read ({error})", path=self.path, hint=self.hint)
