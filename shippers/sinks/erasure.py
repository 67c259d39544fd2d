"""Define the protocol for deleting erased records, as a user who may delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ANOTHER_RECORD", "ErasedRecord", "SinkErasure"]

ANOTHER_RECORD: Final = (
    "not deleted: the sink holds another record under this id, as of a second host that ships "
    "under this name"
)


class ErasedRecord(NamedTuple):
    """A record by its log, number, day, as in ``2026-11-23``, and hash.

    Another host of the same name has records of the same log and number, and another hash.
    """

    log: str
    seq: int
    day: str
    hash: str


class SinkErasure(Protocol):
    """Deletes records from one sink.  What is not there counts as deleted.

    A record of the same id with another hash stays, and is a problem.
    """

    def erase(self, records: Sequence[ErasedRecord]) -> list[str]:
        """Delete them; return one sentence for each problem.  Raises no error of the sink's."""
        ...

    def close(self) -> None: ...
