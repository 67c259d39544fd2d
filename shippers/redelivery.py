"""Deliver a few items until each has a final outcome, with backoff, outside the delivery loop.

For one-off runs (reconcile, retry of the quarantine); the service has shippers.delivery.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

from shippers.backoff import Backoff

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from shippers.item import Item
    from shippers.outcome import DeliveryOutcome
    from shippers.sinks.protocol import Sink

__all__ = ["MAX_BATCH", "MAX_BATCH_BYTES", "deliver_until_final"]

MAX_BATCH: Final = 500
MAX_BATCH_BYTES: Final = 2 << 20
"""Items and bytes of a batch that every kind of sink accepts."""


def deliver_until_final(
    sink: Sink,
    items: Sequence[Item],
    *,
    give_up_after: dt.timedelta,
    rng: random.Random | None = None,
) -> list[DeliveryOutcome]:
    """One outcome for each item, in order.

    An outcome is a retry only if the sink gave nothing a final outcome for ``give_up_after``.
    """
    rng = rng or random.Random()  # noqa: S311  (jitter, no secret)
    outcomes: dict[int, DeliveryOutcome] = {}
    left = list(range(len(items)))
    backoff, attempt, progress_at = Backoff(), 0, time.monotonic()
    while left:
        outcomes.update(zip(left, sink.deliver([items[n] for n in left]), strict=True))
        again = [n for n in left if not outcomes[n].final]
        if len(again) < len(left):
            progress_at, attempt = time.monotonic(), 0
        left = again
        if time.monotonic() - progress_at >= give_up_after.total_seconds():
            break
        if left:
            attempt += 1
            time.sleep(backoff.delay(attempt, rng).total_seconds())
    return [outcomes[n] for n in range(len(items))]
