"""Measure how soon an appended record is acknowledged by the server and found by a search.

Another process appends at its pace, each record durable before the next.  The time of an append is
the record's own timestamp.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from auditlog.format.record import parse_timestamp
from benchmarks.backlog import server
from benchmarks.harness import Case, Ratio
from shippers.item import Item, Shipment
from shippers.outcome import INDEXED, DeliveryOutcome
from shippers.service import ShippingService
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from tests.support.elasticsearch import Cluster, request

TITLE = "Live: from an append to the server and to a search"
UNIT = "ms"
_SECONDS: Final = 22.0
_WARM_UP_SECONDS: Final = 2.0  # the first connection and the making of the index
_POLL_SECONDS: Final = 0.01

Sink = TypeVar("Sink", bound=ElasticsearchSink)

_APPEND: Final = """
import random, sys, time
import auditlog
from benchmarks.workload import events
directory, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
with auditlog.open(directory, service="queen-rbee", host="h") as log:
    began = time.monotonic()
    for number, event in enumerate(events(int(rate * seconds))):
        due = began + (number + random.random()) / rate  # not in step with the server's refreshes
        time.sleep(max(0.0, due - time.monotonic()))
        log.emit(event)
"""


@contextmanager
def setting() -> Iterator[Mapping[str, str]]:
    """A server."""
    with server() as url:
        yield {"BENCHMARK_URL": url}


class _Noting(ElasticsearchSink):
    """Notes when each record was appended, and when the server's acknowledgement was read."""

    def __init__(self, options: ElasticsearchOptions) -> None:
        super().__init__("main", options)
        self.appended: dict[int, float] = {}
        self.acknowledged: dict[int, float] = {}

    def deliver(self, items: Sequence[Item]) -> list[DeliveryOutcome]:
        outcomes = super().deliver(items)
        now = time.time()
        for item, outcome in zip(items, outcomes, strict=True):
            header = item.header if isinstance(item, Shipment) else None
            if header is not None and outcome is INDEXED:
                self.appended[header.seq] = parse_timestamp(header.timestamp).timestamp()
                self.acknowledged[header.seq] = now
        return outcomes


@contextmanager
def stream(
    make_sink: Callable[[ElasticsearchOptions], Sink], rate: float, seconds: float
) -> Iterator[tuple[Sink, Cluster, str]]:
    """Ship to new indices while another process appends so many records a second for so long.

    Gives the sink, the server and the prefix of the indices; ends when the other process does.
    """
    cluster = Cluster(os.environ["BENCHMARK_URL"])
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    stop = threading.Event()
    sink = make_sink(ElasticsearchOptions(urls=(cluster.url,), index_prefix=prefix, replicas=0))
    try:
        with tempfile.TemporaryDirectory() as place:
            log = Path(place, "log")
            log.mkdir(mode=0o700)
            service = ShippingService([log], [sink], Path(place, "state"))
            shipping = threading.Thread(target=service.run, args=(stop,))
            shipping.start()
            try:
                command = [sys.executable, "-c", _APPEND, str(log), str(rate), str(seconds)]
                with subprocess.Popen(command) as appending:
                    yield sink, cluster, prefix
                if appending.returncode:
                    raise RuntimeError("the appending process failed")
            finally:
                stop.set()
                shipping.join()
    finally:
        sink.close()
        cluster.forget(prefix)


def _live(rate: float, arrivals: Callable[[_Noting, Cluster, str], Mapping[int, float]]) -> float:
    """The median of what ``arrivals`` tells of while records come in, in milliseconds."""
    with stream(_Noting, rate, _SECONDS) as (sink, cluster, prefix):
        arrived = arrivals(sink, cluster, prefix)
    first = min(sink.appended.values()) + _WARM_UP_SECONDS
    waits = [
        at - sink.appended[seq]
        for seq, at in arrived.items()
        if sink.appended.get(seq, 0.0) >= first
    ]
    if len(waits) < rate * (_SECONDS - _WARM_UP_SECONDS) / 2:
        raise RuntimeError(f"only {len(waits)} records arrived in time")
    return statistics.median(waits) * 1000


def _acknowledgements(sink: _Noting, _cluster: Cluster, _prefix: str) -> Mapping[int, float]:
    time.sleep(_SECONDS)
    return sink.acknowledged


def _findings(_sink: _Noting, cluster: Cluster, prefix: str) -> Mapping[int, float]:
    """When a search for the newest number found each, asking all the time."""
    found: dict[int, float] = {}
    newest = 0
    newest_first = [{"seq": {"order": "desc", "unmapped_type": "long"}}]
    query = {"size": 1, "sort": newest_first, "_source": ["seq"]}
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        status, answer = request(cluster.url, "POST", f"/{prefix}-*/_search", query)
        now = time.time()
        for hit in answer["hits"]["hits"] if status == 200 else ():  # 503 while an index is made
            found |= dict.fromkeys(range(newest + 1, hit["_source"]["seq"] + 1), now)
            newest = max(newest, hit["_source"]["seq"])
        time.sleep(_POLL_SECONDS)
    return found


CASES = {
    f"{what} p50, {rate:,}/s": Case(
        text,
        lambda rate=rate, arrivals=arrivals: _live(rate, arrivals),  # type: ignore[misc]  # bound now
    )
    for rate in (1, 1000)
    for what, text, arrivals in (
        ("acknowledged", "the bulk answer that proves it was read (aim: 50 ms)", _acknowledgements),
        ("searchable", "a search finds it; refreshed every second (aim: 1,200 ms)", _findings),
    )
}
RATIOS: tuple[Ratio, ...] = ()
