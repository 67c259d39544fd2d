"""What a sink is: it takes records, one attempt at a time, and says what became of each.

Contract (tests/shippers/sinks/test_sink_contract.py runs on every sink):
  same_order    one outcome for each record, in the order given
  idempotent    the same records again are duplicates and change nothing
  append_only   a record whose id exists with another hash is quarantined as an alarm
  unharmed      trouble with the connection or the whole request is RETRY for every record
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shippers.batch import Shipment
    from shippers.document import Document
    from shippers.outcome import Outcome

__all__ = ["Sink"]


class Sink(Protocol):
    """Where records are delivered to.  ``deliver`` is called from several threads at once.

    name            names the cursors and the quarantine file: letters, digits, dot, _ and -
    address         what an error message calls it: a URL without credentials, or a path
    max_in_flight   how many ``deliver`` calls are useful at the same time
    """

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> str: ...

    @property
    def max_in_flight(self) -> int: ...

    def deliver(self, records: Sequence[Shipment]) -> list[Outcome]:
        """Attempt once; records all have a header.  Raises nothing for trouble of the sink."""
        ...

    def deliver_documents(self, documents: Sequence[Document]) -> list[Outcome]:
        """As ``deliver``, for documents of other sources; one that is there is a duplicate."""
        ...

    def close(self) -> None:
        """Release connections; later deliveries may fail."""
        ...
