"""Define the outcomes of one item in one delivery attempt, such as indexed or retry.  Pure.

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
    "ERASED",
    "INDEXED",
    "RETIRED",
    "DeliveryOutcome",
    "OutcomeKind",
    "name_taken",
    "quarantined",
    "retry",
    "tampered",
    "unverified_duplicate",
]


class OutcomeKind(enum.Enum):
    """The four possible outcomes of an attempt."""

    INDEXED = "indexed"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """The outcome of one item in one attempt.

    reason          a sentence without payload
    status          the sink's own code, if it has one
    server_message  the sink's words; they may quote the document, so they are written to the
                    quarantine file and nowhere else
    alarm           a person has to look at it: the sink holds another record under this id
    verified        false for a duplicate whose hash could not be read back
    name_taken      a retry because the sink has another host's records under the log's name
    throttled       a retry because the sink is overloaded: smaller batches, sent later, help it
    """

    kind: OutcomeKind
    reason: str = ""
    status: int | None = None
    server_message: str = ""
    alarm: bool = False
    verified: bool = True
    throttled: bool = False
    name_taken: bool = False

    @property
    def final(self) -> bool:
        return self.kind is not OutcomeKind.RETRY


INDEXED: Final = DeliveryOutcome(OutcomeKind.INDEXED)
DUPLICATE: Final = DeliveryOutcome(OutcomeKind.DUPLICATE)
RETIRED: Final = DeliveryOutcome(OutcomeKind.DUPLICATE, "its index was deleted by policy")
"""The sink kept it as long as the policy wanted: final, and never sent again."""

ERASED: Final = DeliveryOutcome(OutcomeKind.DUPLICATE, "it was erased")
"""The stub of an erased record: final, and never sent."""


def unverified_duplicate(status: int | None = None) -> DeliveryOutcome:
    return DeliveryOutcome(
        OutcomeKind.DUPLICATE, "the stored hash could not be read back", status, verified=False
    )


def quarantined(
    reason: str, status: int | None = None, server_message: str = ""
) -> DeliveryOutcome:
    return DeliveryOutcome(OutcomeKind.QUARANTINED, reason, status, server_message)


def tampered(stored_hash: str, status: int | None = None) -> DeliveryOutcome:
    """The sink holds a record of this id with another hash."""
    return DeliveryOutcome(
        OutcomeKind.QUARANTINED,
        f"the sink holds another record under this id (its hash is {stored_hash or 'missing'})",
        status,
        alarm=True,
    )


def retry(reason: str, status: int | None = None, *, throttled: bool = False) -> DeliveryOutcome:
    return DeliveryOutcome(OutcomeKind.RETRY, reason, status, throttled=throttled)


def name_taken(log: str, installation: str) -> DeliveryOutcome:
    """The sink has records of another installation under this log's name."""
    return DeliveryOutcome(
        OutcomeKind.RETRY,
        f"the sink has records of another installation ({installation}) under the name {log}: "
        "two hosts ship under one name, or the log was begun anew; nothing of it is sent. Give one "
        "of them another host= or instance=, or restore the log",
        name_taken=True,
    )
