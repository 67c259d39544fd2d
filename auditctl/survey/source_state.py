"""Read from cursors how far sources other than audit logs were shipped.

Invariants (tests of the same name in tests/auditctl/survey/test_source_state.py):
  moved    of each sink it is told when it acknowledged something last, or that it never did
  damaged  a cursor that cannot be read is a problem that says what to do
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditlog.errors import AuditLogError
from auditlog.format.record import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditctl.config.sources import SourceConfig
    from auditlog.cursors import CursorStore

__all__ = ["SourceState", "source_states"]


@dataclass(frozen=True, slots=True)
class SourceState:
    """``moved`` says when each sink's cursor moved last, None: never.

    How much is left behind it only the running agent knows; see its metrics.
    """

    source: str
    kind: str
    moved: tuple[tuple[str, dt.datetime | None], ...]
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        sinks = [
            {"sink": sink, "moved_at": None if at is None else format_timestamp(at)}
            for sink, at in self.moved
        ]
        return {
            "source": self.source,
            "kind": self.kind,
            "sinks": sinks,
            "problems": list(self.problems),
        }


def source_states(
    sources: Iterable[SourceConfig], sinks: Sequence[str], store: CursorStore
) -> tuple[SourceState, ...]:
    """The configured sources at these sinks.  Raises OSError."""
    return tuple(_state(source, sinks, store) for source in sources)


def _state(source: SourceConfig, sinks: Sequence[str], store: CursorStore) -> SourceState:
    moved, problems = [], []
    for sink in sinks:
        try:
            cursor = store.load_source(sink, source.kind, source.name)
        except AuditLogError as error:
            problems.append(f"sink {sink}: {error.reason}. {error.hint}")
        else:
            moved.append((sink, None if cursor is None else cursor.at))
    return SourceState(source.name, source.kind, tuple(moved), tuple(problems))
