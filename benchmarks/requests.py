"""Count the bulk requests of a steady stream with default settings, and the CPU time they take.

Another process emits 50 or 200 events a second in immediate mode, so that each is on disk, and can
be seen, before the next; the shipper runs in the measured process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from benchmarks.harness import Case, Ratio
from benchmarks.live import setting, stream
from shippers.item import Item
from shippers.outcome import DeliveryOutcome
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.sink import ElasticsearchSink

__all__ = ["CASES", "RATIOS", "TITLE", "UNIT", "setting"]

TITLE = "Requests: a steady stream with default settings"
UNIT = "a second, or % of a core"
_RATES: Final = (50, 200)
_SECONDS: Final = 20.0
_WARM_UP_SECONDS: Final = 4.0  # the first connection and the making of the index


class _Counting(ElasticsearchSink):
    """Counts the requests, and remembers when they were made."""

    def __init__(self, options: ElasticsearchOptions) -> None:
        super().__init__("main", options)
        self.made_at: list[float] = []

    def deliver(self, items: Sequence[Item]) -> list[DeliveryOutcome]:
        self.made_at.append(time.monotonic())
        return super().deliver(items)


def _stream(rate: int, figure: Callable[[list[float], float, float], float]) -> float:
    """Return ``figure`` of the requests' times, the CPU time and the elapsed time."""
    with stream(_Counting, rate, _SECONDS) as (sink, _, _):
        time.sleep(_WARM_UP_SECONDS)
        began, used = time.monotonic(), time.process_time()
        time.sleep(_SECONDS - _WARM_UP_SECONDS - 1)
        elapsed, used = time.monotonic() - began, time.process_time() - used
    return figure([at for at in sink.made_at if 0 <= at - began < elapsed], used, elapsed)


def _requests(made: list[float], _used: float, elapsed: float) -> float:
    return len(made) / elapsed


def _cpu_percent(_made: list[float], used: float, elapsed: float) -> float:
    return 100 * used / elapsed


CASES: Mapping[str, Case] = {
    f"{name}, {rate}/s": Case(text, lambda rate=rate, of=of: _stream(rate, of))  # type: ignore[misc]  # bound now
    for rate in _RATES
    for name, text, of in (
        ("bulk requests", "requests a second for so many records (aim: at most 10)", _requests),
        ("agent CPU", "% of one core, while they are sent (aim at 200/s: at most 5)", _cpu_percent),
    )
}
RATIOS: tuple[Ratio, ...] = ()
