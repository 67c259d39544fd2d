"""The figures of a fleet, read from both kinds of sink, are those of what was shipped."""

from __future__ import annotations

import datetime as dt
import uuid
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from auditctl.config.sinks import sink_for_target
from auditctl.fleet.ranges import RangeCount, find_irregularities
from auditctl.fleet.sources import FleetSource, open_source
from auditlog.format.record import format_timestamp, parse_header
from shippers.item import Shipment
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from shippers.sinks.sqlite.sink import SqliteSink
from tests.support.elasticsearch import Cluster, request
from tests.support.logs import LogBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def deliver_sqlite(tmp_path: Path) -> Callable[[list[bytes]], FleetSource]:
    def deliver(lines: list[bytes]) -> FleetSource:
        path = tmp_path / "audit.sqlite"
        with closing(SqliteSink("main", path)) as sink:
            sink.deliver([Shipment(line, parse_header(line)) for line in lines])
        return open_source(sink_for_target(str(path)))

    return deliver


@pytest.fixture
def deliver_elasticsearch(
    elasticsearch: Cluster,
) -> Iterator[Callable[[list[bytes]], FleetSource]]:
    prefix = f"fleet-{uuid.uuid4().hex[:8]}"

    def deliver(lines: list[bytes]) -> FleetSource:
        options = ElasticsearchOptions((elasticsearch.url,), index_prefix=prefix)
        with closing(ElasticsearchSink("main", options)) as sink:
            sink.deliver([Shipment(line, parse_header(line)) for line in lines])
        request(elasticsearch.url, "POST", f"/{prefix}-*/_refresh")
        return open_source(replace(sink_for_target(elasticsearch.url), index_prefix=prefix))

    yield deliver
    request(elasticsearch.url, "DELETE", f"/{prefix}-*")


KINDS = [
    "sqlite",
    pytest.param("elasticsearch", marks=pytest.mark.elasticsearch),
]


@pytest.fixture(params=KINDS)
def deliver(request: pytest.FixtureRequest) -> Callable[[list[bytes]], FleetSource]:
    found: Callable[[list[bytes]], FleetSource] = request.getfixturevalue(
        f"deliver_{request.param}"
    )
    return found


def logs(tmp_path: Path) -> list[LogBuilder]:
    made = []
    for name, records in (("queen-rbee@hive1", 30), ("rbee-hive@gpu-1", 7)):
        log = LogBuilder(tmp_path, name)
        log.append(records // 2)
        log.rotate(days=1)
        log.append(records - records // 2)
        made.append(log)
    return made


def test_summaries(deliver: Callable[[list[bytes]], FleetSource], tmp_path: Path) -> None:
    built = logs(tmp_path)
    with closing(deliver([line for log in built for line in log.lines])) as source:
        found = {one.log: one for one in source.summaries()}
    assert set(found) == {log.log for log in built}
    for log in built:
        one = found[log.log]
        assert (one.records, one.first_seq, one.last_seq) == (log.seq, 1, log.seq)
        assert one.is_whole
        last = one.last_at.replace(microsecond=one.last_at.microsecond // 1000 * 1000)
        assert format_timestamp(last)[:23] == log.headers[-1].timestamp[:23]
        assert one.last_at.utcoffset() == dt.timedelta(0)


def test_counts(deliver: Callable[[list[bytes]], FleetSource], tmp_path: Path) -> None:
    log = logs(tmp_path)[0]
    lines = [line for line, header in zip(log.lines, log.headers, strict=True) if header.seq != 9]
    with closing(deliver(lines)) as source:
        ranges = [(1, 8), (9, 9), (9, 10), (1, 30), (31, 40)]
        assert source.counts(log.log, ranges) == [
            RangeCount(8, 36),
            RangeCount(0, 0),
            RangeCount(1, 10),
            RangeCount(29, 456),
            RangeCount(0, 0),
        ]
        [one] = source.summaries()
        assert not one.is_whole
        found = find_irregularities(1, 30, lambda parts: source.counts(log.log, parts))
        assert found.gaps == ((9, 9),)


@pytest.mark.elasticsearch
def test_two_hosts_of_one_name_are_a_fork(
    deliver_elasticsearch: Callable[[list[bytes]], FleetSource], tmp_path: Path
) -> None:
    """They write on different days, so that each has an index, and the same numbers, of its own."""
    lines = []
    for day in range(2):
        (tmp_path / str(day)).mkdir()
        log = LogBuilder(tmp_path / str(day))
        log.at += dt.timedelta(days=day)
        lines += log.append(5 + day)
    with closing(deliver_elasticsearch(lines)) as source:
        [one] = source.summaries()
        found = find_irregularities(1, 6, lambda parts: source.counts(one.log, parts))
        assert found.forks == (1, 2, 3, 4, 5)


@pytest.mark.elasticsearch
def test_a_cluster_without_any_index_has_no_log(elasticsearch: Cluster) -> None:
    config = replace(
        sink_for_target(elasticsearch.url), index_prefix=f"none-{uuid.uuid4().hex[:8]}"
    )
    with closing(open_source(config)) as source:
        assert list(source.summaries()) == []
