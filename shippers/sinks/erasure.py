"""Define the protocol for deleting erased records, as a user who may delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ErasedRecord", "SinkErasure"]


class ErasedRecord(NamedTuple):
    """A record by its log, number and day, as in ``2026-11-23``."""

    log: str
    seq: int
    day: str


class SinkErasure(Protocol):
    """Deletes records from one sink.  What is not there counts as deleted."""

    def erase(self, records: Sequence[ErasedRecord]) -> list[str]:
        """Delete them; return one sentence for each problem.  Raises no error of the sink's."""
        ...

    def close(self) -> None: ...
