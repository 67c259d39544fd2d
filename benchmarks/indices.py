"""Measure what many indices cost: the first bulk after midnight, and a search over many days.

A node of two cores has all shards, without replicas.  The first bulk of a day has a record of each
of 100 logs, in 28 buckets of 10 shards; 60 days have one record each.
"""

from __future__ import annotations

import datetime as dt
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Final

from auditctl.config.sinks import ElasticsearchConfig
from auditctl.search.index import IndexSearch
from auditlog.format.index_names import IndexPeriod
from auditlog.format.record import parse_header
from auditlog.query.scope import SearchScope
from auditlog.query.syntax import parse
from benchmarks.harness import Case, Ratio
from benchmarks.live import setting
from shippers.item import Shipment
from shippers.outcome import INDEXED
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from tests.support.elasticsearch import Cluster, request
from tests.support.logs import make_line

__all__ = ["CASES", "RATIOS", "TITLE", "UNIT", "setting"]

TITLE = "Indices: the first bulk after midnight, and a search over many days"
UNIT = "s"
_BUCKETS: Final = 28
_DAYS: Final = 60
_DAY: Final = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


@contextmanager
def _sink(
    pattern: str = "", *, shards: int = 1, period: IndexPeriod = "day"
) -> Iterator[ElasticsearchConfig]:
    cluster = Cluster(os.environ["BENCHMARK_URL"])
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    yield ElasticsearchConfig(
        name="main",
        urls=(cluster.url,),
        index_prefix=f"{prefix}{pattern}",
        index_period=period,
        shards=shards,
        replicas=0,
        request_timeout=dt.timedelta(minutes=10),
    )
    cluster.forget(prefix)


def _record(log: str, seq: int, at: dt.datetime) -> Shipment:
    line, _ = make_line(log, seq, at=at)
    return Shipment(line, parse_header(line))


def _midnight(*, ahead: bool) -> float:
    with (
        _sink(f"-{{bucket:{_BUCKETS}}}", shards=10) as config,
        closing(ElasticsearchSink("main", config)) as sink,
    ):
        before = _record("warm-up@host", 1, _DAY - dt.timedelta(days=1))
        assert sink.deliver([before]) == [INDEXED]  # the template is there
        if ahead:
            for name in config.names.all_of(_DAY.date().isoformat()):
                request(config.urls[0], "PUT", f"/{name}")
        records = [_record(f"service@host-{number}", 1, _DAY) for number in range(100)]
        began = time.perf_counter()
        while not all(outcome.final for outcome in sink.deliver(records)):
            pass  # a shard was not there within a minute: as the agent does, it is sent again
        return time.perf_counter() - began


def _search(period: IndexPeriod) -> float:
    with _sink(period=period) as config:
        days = [dt.datetime(2025, 1, 1, 12, tzinfo=dt.UTC) + dt.timedelta(n) for n in range(_DAYS)]
        with closing(ElasticsearchSink("main", config)) as sink:
            for start in range(0, _DAYS, 20):
                records = [_record("service@host", start + n + 1, day)
                           for n, day in enumerate(days[start : start + 20])]  # fmt: skip
                assert sink.deliver(records) == [INDEXED] * len(records)
        request(config.urls[0], "POST", f"/{config.names.pattern}/_refresh")
        source = IndexSearch(config, lambda *_: None)
        began = time.perf_counter()
        assert len([*source.records(parse("outcome=success"), SearchScope())]) == _DAYS
        return time.perf_counter() - began


CASES: Mapping[str, Case] = {
    "midnight": Case(
        f"first bulk of a day: 100 records into {_BUCKETS} indices of 10 shards that it makes",
        lambda: _midnight(ahead=False),
    ),
    "midnight, made ahead": Case(
        "the same bulk, when index retention has made the indices before",
        lambda: _midnight(ahead=True),
    ),
    "60 days": Case(
        "a search without a time range over 60 indices, one match in each", lambda: _search("day")
    ),
    "60 days in weeks": Case("the same over 9 indices", lambda: _search("week")),
    "60 days in months": Case("the same over 3 indices", lambda: _search("month")),
}
RATIOS: tuple[Ratio, ...] = (
    Ratio("midnight", "midnight, made ahead", None),
    Ratio("60 days", "60 days in months", None),
)
