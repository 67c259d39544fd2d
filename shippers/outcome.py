"""What became of one record in one delivery attempt.  Pure.

Final outcomes let the cursor pass; RETRY does not.  A duplicate is a record that the sink already
had with the same hash; one with another hash is quarantined as tampering.

Invariants (tests of the same name in tests/shippers/test_outcome.py):
  final   exactly indexed, duplicate and quarantined are final
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

__all__ = [
    "DUPLICATE",
    "INDEXED",
    "RETIRED",
    "Kind",
    "Outcome",
    "quarantined",
    "retry",
    "tampered",
    "unverified_duplicate",
]


class Kind(enum.Enum):
    """The four ends of an attempt."""

    INDEXED = "indexed"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``reason`` is a sentence without payload; ``server_message`` may quote the document, and so
    goes into the quarantine file and nowhere else.  ``status`` is the sink's own code, if any.

    ``alarm`` marks what a person has to look at: the sink holds another record under this id.
    ``verified`` is false for a duplicate whose hash could not be read back.  ``throttled`` marks a
    retry because the sink has more to do than it can: smaller batches, sent later, help it.
    """

    kind: Kind
    reason: str = ""
    status: int | None = None
    server_message: str = ""
    alarm: bool = False
    verified: bool = True
    throttled: bool = False

    @property
    def final(self) -> bool:
        return self.kind is not Kind.RETRY


INDEXED: Final = Outcome(Kind.INDEXED)
DUPLICATE: Final = Outcome(Kind.DUPLICATE)
RETIRED: Final = Outcome(Kind.DUPLICATE, "its index was deleted by policy")
"""The sink had it for as long as it was to have it: final, and never sent again."""


def unverified_duplicate(status: int | None = None) -> Outcome:
    return Outcome(Kind.DUPLICATE, "the stored hash could not be read back", status, verified=False)


def quarantined(reason: str, status: int | None = None, server_message: str = "") -> Outcome:
    return Outcome(Kind.QUARANTINED, reason, status, server_message)


def tampered(stored_hash: str, status: int | None = None) -> Outcome:
    """The sink holds a record of this id with another hash."""
    return Outcome(
        Kind.QUARANTINED,
        f"the sink holds another record under this id (its hash is {stored_hash or 'missing'})",
        status,
        alarm=True,
    )


def retry(reason: str, status: int | None = None, *, throttled: bool = False) -> Outcome:
    return Outcome(Kind.RETRY, reason, status, throttled=throttled)
