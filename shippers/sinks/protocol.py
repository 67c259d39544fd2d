"""Define the protocol of a sink: deliver a batch once, and return an outcome for each item.

Contract (tests/shippers/sinks/test_sink_contract.py runs on every sink):
  same_order    one outcome for each item, in the order given
  idempotent    the same items again are duplicates and change nothing
  append_only   a record whose id exists with another hash is quarantined as an alarm
  unharmed      a failure of the connection or the whole request is RETRY for every item
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shippers.item import Item
    from shippers.outcome import DeliveryOutcome

__all__ = ["Sink"]


class Sink(Protocol):
    """Where items are delivered to.  ``deliver`` is called from several threads at once.

    name            names the cursors and the quarantine file: letters, digits, dot, _ and -
    address         for error messages: a URL without credentials, or a path
    max_in_flight   how many ``deliver`` calls are useful at the same time
    """

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> str: ...

    @property
    def max_in_flight(self) -> int: ...

    def deliver(self, items: Sequence[Item]) -> list[DeliveryOutcome]:
        """Deliver a batch once; return outcomes, also for failures.  Every record has a header."""
        ...

    def installations(self, log: str) -> frozenset[str]:
        """Return the installations that the sink's records of ``log.opened`` name, of this log.

        At least those of its newest ones; none where this user may not read.  Raises SinkRefused
        when the sink does not answer.
        """
        ...

    def close(self) -> None:
        """Release connections; later deliveries may fail."""
        ...
