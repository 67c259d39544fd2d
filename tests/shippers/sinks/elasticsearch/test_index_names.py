"""Buckets and periods on a real cluster: shipped once, read back, searched, counted, listed."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from pathlib import Path

import pytest

from auditctl.composition.index_count import SinkCounts
from auditctl.composition.index_retention import ElasticsearchIndices
from auditctl.config.sinks import ElasticsearchConfig
from auditctl.fleet.sources import open_source
from auditctl.search.index import IndexSearch
from auditlog.format.index_names import IndexPeriod
from auditlog.format.record import parse_header
from auditlog.format.segment_names import LogId
from auditlog.query.scope import SearchScope
from auditlog.query.syntax import parse
from shippers.item import Document, Shipment, content_id
from shippers.outcome import DUPLICATE, INDEXED
from shippers.sinks.elasticsearch.cluster import Setup
from shippers.sinks.elasticsearch.connection import Connection
from shippers.sinks.elasticsearch.erasure import ElasticsearchErasure
from shippers.sinks.elasticsearch.read_back import ElasticsearchReadBack
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from shippers.sinks.erasure import ErasedRecord
from tests.support.elasticsearch import Cluster, request
from tests.support.logs import LogBuilder


def of_three_days(place: Path, name: str) -> LogBuilder:
    """From a Saturday on: two weeks, one month."""
    log = LogBuilder(place, name)
    log.at = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
    for _ in range(3):
        log.append(4)
        log.at += dt.timedelta(days=1)
        log.rotate()
    return log


@pytest.mark.parametrize(("period", "per_log"), [("day", 3), ("week", 2), ("month", 1)])
def test_one_configuration_for_many_logs(
    elasticsearch: Cluster, index_prefix: str, tmp_path: Path, period: IndexPeriod, per_log: int
) -> None:
    config = ElasticsearchConfig(
        name="main",
        urls=(elasticsearch.url,),
        index_prefix=f"{index_prefix}-{{bucket:4}}",
        index_period=period,
        replicas=0,
    )
    made = [of_three_days(tmp_path, f"rbee-hive@gpu-{number}") for number in range(6)]
    items = [Shipment(line, parse_header(line)) for log in made for line in log.lines]
    line = b'{"@timestamp":"2026-11-23T07:00:00.000000Z","message":"from the journal"}\n'
    document = Document("app", content_id(line), "2026-11-23T07:00:00.000000Z", line)

    with closing(Connection(config)) as connection:
        setup = Setup(connection, None, ["app"])
        setup.apply(setup.plan())
        assert not setup.plan().changes
    with closing(ElasticsearchSink("main", config)) as sink:
        assert sink.deliver(items) == [INDEXED] * len(items)
        assert sink.deliver([document]) == [INDEXED]
    with closing(ElasticsearchSink("main", config)) as sink:
        assert sink.deliver(items) == [DUPLICATE] * len(items)
        assert sink.deliver([document]) == [DUPLICATE]
    request(elasticsearch.url, "POST", f"/{index_prefix}*/_refresh")

    with closing(ElasticsearchIndices(config)) as cluster:
        listed = {index.name: index.documents for index in cluster.indices()}
    ours = {name: count for name, count in listed.items() if config.names.days(name)}
    buckets = {config.names.of(log.log, "2026-11-23") for log in made}
    assert 1 < len(buckets) <= 4
    assert len(ours) == len(buckets) * per_log
    assert sum(ours.values()) == len(items)
    status, mapping = request(elasticsearch.url, "GET", f"/{next(iter(ours))}/_mapping")
    assert status == 200
    assert "flattened" in str(mapping), "it is the template's"

    log = made[0]
    headers = [header for header in map(parse_header, log.lines) if header is not None]
    with closing(ElasticsearchReadBack(Connection(config))) as back:
        days = back.days(log.log)
        assert days == ["2026-11-21", "2026-11-22", "2026-11-23"]
        read = [stored.line for day in days for stored in back.read(log.log, day)]
        assert read == list(log.lines)
        assert [one and one.line for one in back.fetch(headers)] == list(log.lines)
    found = IndexSearch(config, lambda *_: None).records(parse(f"log={log.log}"), SearchScope())
    assert [record.line for record in found] == list(log.lines)
    with closing(open_source(config)) as fleet:
        assert {one.log: one.records for one in fleet.summaries()} == {
            each.log: len(each.lines) for each in made
        }
    counted = SinkCounts([config], tmp_path).count(
        "main", LogId.parse(log.log), 1, 4, day=dt.date(2026, 11, 21)
    )
    assert counted == 4
    with closing(ElasticsearchErasure(Connection(config), config.names)) as eraser:
        assert eraser.erase([ErasedRecord(log.log, 1, headers[0].day, headers[0].hash)]) == []
    assert elasticsearch.count(config.names.pattern) >= len(items) - 1
    with closing(ElasticsearchReadBack(Connection(config))) as back:
        assert back.fetch(headers[:2])[0] is None
