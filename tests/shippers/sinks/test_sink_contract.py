"""The contract of every sink (see shippers/sinks/protocol.py), run on each of them."""

from __future__ import annotations

import datetime as dt
import sqlite3
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from auditlog.format.foreign_files import line_hash
from auditlog.format.index_names import IndexNames
from auditlog.format.record import parse_header
from shippers.item import Document, Shipment, content_id
from shippers.outcome import DUPLICATE, INDEXED, DeliveryOutcome
from shippers.outcome import OutcomeKind as Kind
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from shippers.sinks.protocol import Sink
from shippers.sinks.sqlite.sink import SqliteSink
from shippers.sources.ndjson.line import Line, LineFormat, to_document
from tests.support.elasticsearch import VERSION, Cluster, request
from tests.support.logs import make_line
from tests.support.opensearch import OpenSearchCluster
from tests.support.shipments import shipments


@dataclass
class Case:
    """A sink, and a way to look at what it holds without it: (log, seq) to line."""

    sink: Sink
    place: Any

    def stored(self) -> dict[tuple[str, int], bytes]:
        if isinstance(self.place, Path):
            with sqlite3.connect(self.place) as connection:
                rows = connection.execute("SELECT log, seq, line FROM records").fetchall()
            connection.close()
            return {(log, seq): line for log, seq, line in rows}
        cluster, prefix = self.place
        found = {}
        for doc_id, hit in cluster.documents(f"{prefix}-*").items():
            source = hit["_source"]
            assert doc_id == f"{source['log']}:{source['seq']}"
            assert hit["_index"] == f"{prefix}-{source['@timestamp'][:10].replace('-', '.')}"
            found[source["log"], source["seq"]] = orjson.dumps(source) + b"\n"
        return found

    def stored_documents(self) -> dict[tuple[str, str], Any]:
        """(source, id) to the day it is stored under and the document."""
        if isinstance(self.place, Path):
            with sqlite3.connect(self.place) as connection:
                rows = connection.execute("SELECT source, id, day, line FROM documents").fetchall()
            connection.close()
            return {(source, one): (day, orjson.loads(line)) for source, one, day, line in rows}
        cluster, prefix = self.place
        found = {}
        for hit in cluster.anything(f"{prefix}-*"):
            source, _, day = hit["_index"].removeprefix(f"{prefix}-").rpartition("-")
            found[source, hit["_id"]] = (day.replace(".", "-"), hit["_source"])
        return found


SERVERS: Final = [
    pytest.param(name, marks=pytest.mark.elasticsearch) for name in ("elasticsearch", "opensearch")
]


@pytest.fixture(params=["sqlite", *SERVERS])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    sink: Sink
    if request.param == "sqlite":
        sink = SqliteSink("main", tmp_path / "sink" / "records.sqlite")
        yield Case(sink, sink.path)
    elif request.param == "opensearch":
        node: OpenSearchCluster = request.getfixturevalue("opensearch")
        prefix = f"test-{uuid.uuid4().hex[:12]}"
        sink = ElasticsearchSink("main", node.options(prefix, client_cert_file=node.admin_file))
        yield Case(sink, (node, prefix))
        node.forget(prefix)
    else:
        cluster: Cluster = request.getfixturevalue("elasticsearch")
        prefix = request.getfixturevalue("index_prefix")
        sink = ElasticsearchSink(
            "main", ElasticsearchOptions(urls=(cluster.url,), index_prefix=prefix, replicas=0)
        )
        yield Case(sink, (cluster, prefix))
    sink.close()


def kinds(outcomes: list[DeliveryOutcome]) -> list[Kind]:
    return [outcome.kind for outcome in outcomes]


def documents(count: int, source: str = "app", day: str = "2026-11-23") -> list[Document]:
    made = []
    for n in range(count):
        at = f"{day}T07:12:00.{n:06d}Z"
        line = orjson.dumps({"@timestamp": at, "message": f"ä{n}", "n": n, "deep": {"x": [n]}})
        made.append(Document(source, content_id(source, line), at, line + b"\n"))
    return made


def by_id(given: list[Document]) -> dict[tuple[str, str], Any]:
    return {(d.source, d.id): (d.day, orjson.loads(d.line)) for d in given}


def by_key(records: list[Shipment]) -> dict[tuple[str, int], bytes]:
    return {(h.log, h.seq): line for line, h in records if h is not None}


def test_same_order(case: Case) -> None:
    """same_order: one outcome for each record, in the order given"""
    records = shipments(20) + shipments(5, "rbee-hive@gpu-1.example.org+2")
    assert case.sink.deliver(records[3:9]) == [INDEXED] * 6
    outcomes = case.sink.deliver(records)
    assert outcomes == [INDEXED] * 3 + [DUPLICATE] * 6 + [INDEXED] * 16
    assert case.stored() == by_key(records)


def test_idempotent(case: Case) -> None:
    """idempotent: the same records again are duplicates and change nothing"""
    records = shipments(10)
    assert case.sink.deliver(records) == [INDEXED] * 10
    assert case.sink.deliver(records) == [DUPLICATE] * 10
    assert case.sink.deliver(records + records) == [DUPLICATE] * 20
    assert case.stored() == by_key(records)


def test_append_only(case: Case) -> None:
    """append_only: a record whose id exists with another hash is quarantined as an alarm"""
    records = shipments(3)
    case.sink.deliver(records)
    other, _ = make_line("queen-rbee@hive1", 2, actor={"user_id": "mallory"})
    forged = Shipment(other, parse_header(other))
    outcomes = case.sink.deliver([records[0], forged, records[2]])
    assert kinds(outcomes) == [
        Kind.DUPLICATE,
        Kind.QUARANTINED,
        Kind.DUPLICATE,
    ]
    assert outcomes[1].alarm
    assert "mallory" not in outcomes[1].reason
    assert case.stored() == by_key(records)


def test_unharmed(tmp_path: Path) -> None:
    """unharmed: trouble with the connection or the whole request is RETRY for every record"""
    records = shipments(3)
    nowhere = ElasticsearchSink("main", ElasticsearchOptions(urls=("http://127.0.0.1:1",)))
    outcomes = nowhere.deliver(records)
    nowhere.close()
    assert kinds(outcomes) == [Kind.RETRY] * 3
    assert outcomes[0].reason == "cannot connect: Connection refused"

    path = tmp_path / "records.sqlite"
    sink = SqliteSink("main", path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("DROP TABLE records")
    assert kinds(sink.deliver(records)) == [Kind.RETRY] * 3
    blocker.close()
    sink.close()


def test_several_deliveries_at_once(case: Case) -> None:
    records = shipments(200)
    parts = [records[n : n + 40] for n in range(0, 200, 20)]  # each record in two of them
    with ThreadPoolExecutor(4) as pool:
        outcomes = [o for part in pool.map(case.sink.deliver, parts) for o in part]
    assert outcomes.count(INDEXED) == 200
    assert outcomes.count(DUPLICATE) == len(outcomes) - 200
    assert case.stored() == by_key(records)


def test_the_largest_record_and_text_in_any_script(case: Case) -> None:
    text = 'ä€😀\\" '
    whole, parts = text * 4600, [text * 1530] * 3
    # A value of details above 32,766 bytes is refused there (see test_opensearch).
    apart = isinstance(case.place, tuple) and isinstance(case.place[0], OpenSearchCluster)
    big = shipments(1, details={"text": parts if apart else whole})
    assert 60_000 < len(big[0].line) < 65_536
    assert case.sink.deliver(big) == [INDEXED]
    assert case.stored() == by_key(big)


def test_no_records_are_no_outcomes(case: Case) -> None:
    assert case.sink.deliver([]) == []


def test_documents_go_to_the_index_of_their_source_and_day_once(case: Case) -> None:
    given = documents(20) + documents(5, "app-x") + documents(5, day="2026-11-24")
    assert case.sink.deliver(given[3:9]) == [INDEXED] * 6
    outcomes = case.sink.deliver(given)
    assert outcomes == [INDEXED] * 3 + [DUPLICATE] * 6 + [INDEXED] * 21
    assert case.sink.deliver(given + given) == [DUPLICATE] * 60
    assert case.sink.deliver([]) == []
    assert case.stored_documents() == by_id(given)


def test_documents_and_records_do_not_meet(case: Case) -> None:
    records = shipments(3)
    given = documents(3)
    assert case.sink.deliver(records) == [INDEXED] * 3
    assert case.sink.deliver(given) == [INDEXED] * 3
    found = case.stored_documents()
    assert {key: found[key] for key in by_id(given)} == by_id(given)
    assert case.sink.deliver(records) == [DUPLICATE] * 3


def test_documents_wait_for_a_sink_that_is_not_there() -> None:
    nowhere = ElasticsearchSink("main", ElasticsearchOptions(urls=("http://127.0.0.1:1",)))
    outcomes = nowhere.deliver(documents(3))
    nowhere.close()
    assert kinds(outcomes) == [Kind.RETRY] * 3
    assert outcomes[0].reason == "cannot connect: Connection refused"


TWO_TYPES: Final = {"a": [{"x": 1}, {"x": "s"}]}  # a new field, as a number and as a text
CONFLICTING: Final = [  # each beside the others, in one index
    {"error": "text"},
    {"error": {"message": "object", "code": 5}},
    {"error": 5},
    {"error": ["a", {"b": 1}]},
    {"n": 1},
    {"n": "text"},
    {"n": {"x": 1}},
    {"flag": True},
    {"flag": "maybe"},
    {"labels": {"app": "web"}},
    {"labels": {"app.kubernetes.io/name": "web"}},
    TWO_TYPES,
    {"a": "s"},
    {"log": "from a container\n", "host": "web1"},
    {"log": {"level": "info"}, "host": {"name": "web1"}},
    {"message": "hello world"},
    {"message": {"a": 1}},
    {"text": "x" * 40_000},
    {"@timestamp": 1_763_681_400},
    {"@timestamp": "2026-11-23 07:12:00"},
    {"@timestamp": {"$date": "2026-11-23T07:12:00Z"}},
    {"": 1},
    {"_id": "theirs", "deep": {"": {"a": 1}}},
    {f"k{n}": {"value": n} for n in range(1500)},
    {"late": "after many"},
]
FOUND: Final = [  # how many of them each query finds
    ({"term": {"error": "text"}}, 1),
    ({"term": {"error.message": "object"}}, 1),
    ({"term": {"error.b": 1}}, 1),
    ({"term": {"n.keyword": "text"}}, 1),
    ({"range": {"n": {"gte": 1}}}, 1),
    ({"term": {"flag": "maybe"}}, 1),
    ({"term": {"flag": "true"}}, 1),
    ({"term": {"labels.app.kubernetes.io/name": "web"}}, 1),
    ({"term": {"a.x.keyword": "s"}}, 1),
    ({"match": {"message": "world"}}, 1),
    ({"term": {"auditlog.fields._id": "theirs"}}, 1),
    ({"term": {"auditlog.fields.k1499.value": 1499}}, 1),
    ({"term": {"late": "after many"}}, 1),
    ({"term": {"auditlog.source.host": "hive1"}}, len(CONFLICTING)),
]


@pytest.mark.elasticsearch
@pytest.mark.parametrize("first", [0, 1, 4, 7])
def test_lines_that_contradict_each_other_are_all_indexed_and_found(
    elasticsearch: Cluster, index_prefix: str, first: int
) -> None:
    now = dt.datetime(2026, 11, 23, 7, 12, tzinfo=dt.UTC)
    form = LineFormat("app", "hive1")
    lines = [orjson.dumps(v) for v in CONFLICTING[first:] + CONFLICTING[:first]]
    given = [
        to_document(Line("/app.log", "f" * 64, n, line, line_hash(line), len(line)), form, now)[0]
        for n, line in enumerate(lines)
    ]
    sink = ElasticsearchSink(
        "main",
        ElasticsearchOptions(urls=(elasticsearch.url,), index_prefix=index_prefix, replicas=0),
    )
    outcomes = [sink.deliver([document])[0] for document in given]
    sink.close()
    expected = [Kind.INDEXED] * len(given)
    if VERSION.startswith("8."):  # it refuses two types of a new field in one document
        expected[lines.index(orjson.dumps(TWO_TYPES))] = Kind.QUARANTINED
    assert kinds(outcomes) == expected
    quarantined = expected.count(Kind.QUARANTINED)
    indices = f"/{IndexNames(index_prefix).of_source('app').plain}-*"
    assert request(elasticsearch.url, "POST", f"{indices}/_refresh")[0] == 200
    for query, count in FOUND if not first else FOUND[-4:]:  # a field's type is its first value's
        _, answer = request(elasticsearch.url, "POST", f"{indices}/_search", {"query": query})
        in_it = query == {"term": {"a.x.keyword": "s"}} or count == len(CONFLICTING)
        assert answer["hits"]["total"]["value"] == count - quarantined * in_it, query
