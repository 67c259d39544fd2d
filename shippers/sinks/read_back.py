"""Define the protocol for reading back and comparing a sink's copy.

Contract (tests/shippers/reconcile/test_reconciliation.py tampers with every implementation):
  everything   read gives every record of a log and day once, by number, whoever put it there
  at_once      fetch finds what was acknowledged, even where read cannot see it yet
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditlog.format.record import Header

__all__ = ["ReadBack", "Stored"]


class Stored(NamedTuple):
    """One record as the sink has it.

    ``id`` is the sink's own name for it, and should be ``log:seq``; ``line`` is the record's line
    with its LF, as far as the sink lets it be rebuilt; ``verbatim`` says that it keeps every byte.
    ``misfiled``: it keeps the record under a time, type or hash that is not the line's, where a
    search passes it by.
    """

    id: str
    seq: int
    line: bytes
    verbatim: bool = False
    misfiled: bool = False


class ReadBack(Protocol):
    """Reads a sink.  Every method raises SinkRefused when the sink cannot be read."""

    @property
    def address(self) -> str: ...

    def refresh(self) -> None:
        """Make acknowledged records visible to ``read``, where the user has the privilege."""
        ...

    def days(self, log: str) -> list[str]:
        """List the days (``2026-11-23``) of a log's records, and other places as they are named."""
        ...

    def read(self, log: str, day: str) -> Iterator[Stored]:
        """The records of a log in what ``days`` named, by number."""
        ...

    def fetch(self, headers: Sequence[Header]) -> list[Stored | None]:
        """Return the current state of these records, looked up by id."""
        ...

    def strangers(self) -> tuple[int, list[str]]:
        """Return the number of documents that belong to no log, and the names of some."""
        ...

    def close(self) -> None: ...
