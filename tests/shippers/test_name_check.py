"""Two hosts of one name, each with its directory, state and agent; one sink."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

import auditlog
from shippers.backoff import Backoff
from shippers.delivery import DeliveryOptions
from shippers.outcome import tampered
from shippers.service import ShippingOptions, ShippingService
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from shippers.sinks.protocol import Sink
from shippers.sinks.sqlite.sink import SqliteSink
from tests.support.elasticsearch import request
from tests.support.shipments import FakeSink

LOG = "queen-rbee@hive1"


def write(place: Path, events: int) -> Path:
    with auditlog.open(place / "audit", service="queen-rbee", host="hive1") as log:
        for number in range(events):
            log.emit("pool.drained", details={"host": place.name, "n": number})
    return place


def shipping(place: Path, sink: Sink) -> ShippingService:
    quick = Backoff(dt.timedelta(milliseconds=1), dt.timedelta(milliseconds=5))
    options = ShippingOptions(delivery=DeliveryOptions(backoff=quick))
    return ShippingService([place / "audit"], [sink], place / "state", options)


@pytest.fixture(params=["sqlite", "elasticsearch"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sink]:
    if request.param == "sqlite":
        made: Sink = SqliteSink("main", tmp_path / "x.sqlite")
    else:
        url = request.getfixturevalue("elasticsearch").url
        prefix = request.getfixturevalue("index_prefix")
        made = ElasticsearchSink("main", ElasticsearchOptions(urls=(url,), index_prefix=prefix))
    yield made
    made.close()


def refresh(sink: Sink) -> None:
    if isinstance(sink, ElasticsearchSink):
        options = sink.connection.options
        request(options.urls[0], "POST", f"/{options.index_prefix}-*/_refresh")


def test_before(sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """before: of a log whose name is taken no record is sent"""
    first, second = write(tmp_path / "first", 3), write(tmp_path / "second", 30)
    assert shipping(first, sink).run_once().complete
    refresh(sink)
    service = shipping(second, sink)
    summary = service.run_once()
    [stats] = summary.logs
    assert not summary.complete
    assert (summary.shipped, summary.duplicates, summary.quarantined) == (0, 0, 0)
    assert (stats.name_taken, stats.acknowledged_seq) == (True, 0)
    (installation,) = sink.installations(LOG)
    assert f"another installation ({installation})" in stats.trouble
    assert "ALARM" in caplog.text
    assert not list((second / "state/cursors").rglob("*.cursor"))
    write(first, 2)
    refresh(sink)
    assert shipping(first, sink).run_once().shipped == 4, "the first one goes on"
    # Under another name the second is shipped whole.
    with auditlog.open(second / "audit", service="queen-rbee", host="hive1", instance="2"):
        pass
    assert shipping(second, sink).run_once().shipped == 3


def test_again(tmp_path: Path) -> None:
    """again: a log that was checked is so again after an alarm of the sink"""
    place, sink = write(tmp_path / "second", 20), FakeSink(max_in_flight=1)
    asked: list[str] = []

    def installations(log: str) -> frozenset[str]:
        """Both hosts began at the same moment: what the other one sent is not visible at first."""
        asked.append(log)
        return frozenset() if len(asked) == 1 else frozenset({"a" * 32})

    sink.installations = installations  # type: ignore[method-assign]  (answers of this test)
    sink.answer = lambda records: [tampered("f" * 64, 409)] * len(records)
    quick = Backoff(dt.timedelta(milliseconds=1), dt.timedelta(milliseconds=5))
    options = ShippingOptions(delivery=DeliveryOptions(batch_records=1, backoff=quick))
    service = ShippingService([place / "audit"], [sink], place / "state", options)
    summary = service.run_once()
    assert (summary.quarantined, summary.logs[0].name_taken) == (1, True)
    assert sink.deliveries == 1, "the first record alone was sent"
    assert asked[:2] == [LOG, LOG]
