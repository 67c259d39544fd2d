"""A real OpenSearch with its security plugin: set-up, least privileges, reading back, searching."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from auditctl.config.sinks import ElasticsearchConfig
from auditctl.fleet.sources import open_source
from auditctl.search.index import IndexSearch
from auditlog.format.record import parse_header
from auditlog.query.scope import SearchScope
from auditlog.query.syntax import parse
from shippers.item import Document, Shipment, content_id
from shippers.outcome import DUPLICATE, INDEXED
from shippers.outcome import OutcomeKind as Kind
from shippers.sinks.elasticsearch.cluster import Setup
from shippers.sinks.elasticsearch.connection import Connection
from shippers.sinks.elasticsearch.erasure import ElasticsearchErasure
from shippers.sinks.elasticsearch.opensearch_roles import opensearch_roles_yml
from shippers.sinks.elasticsearch.read_back import ElasticsearchReadBack
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from shippers.sinks.erasure import ErasedRecord
from tests.support.logs import make_line
from tests.support.opensearch import OpenSearchCluster
from tests.support.shipments import shipments

DEPLOY = Path(__file__).parents[4] / "deploy"
RECORDS = shipments(20)
DAY = RECORDS[0].at[:10] if RECORDS[0].at else ""


@pytest.fixture
def prefix(opensearch: OpenSearchCluster) -> Iterator[str]:
    """As the roles have it, and of this test alone."""
    name = f"llama-orch-audit-{uuid.uuid4().hex[:8]}"
    yield name
    opensearch.forget(name)
    opensearch.forget(name.replace("-audit", "", 1))


def sink_of(node: OpenSearchCluster, prefix: str, user: str = "shipper") -> ElasticsearchSink:
    return ElasticsearchSink("main", node.options(prefix), lambda: node.user(user))


def connection_of(node: OpenSearchCluster, prefix: str, user: str) -> Connection:
    return Connection(node.options(prefix), lambda: node.user(user))


def config_of(node: OpenSearchCluster, prefix: str, user: str = "auditor") -> ElasticsearchConfig:
    options = node.options(prefix)
    return ElasticsearchConfig(
        name="main",
        urls=options.urls,
        ca_file=options.ca_file,
        index_prefix=prefix,
        username=user,
        secrets={"password": node.passwords[user]},
    )


def set_up(node: OpenSearchCluster, prefix: str) -> Setup:
    with closing(connection_of(node, prefix, "setup")) as connection:
        setup = Setup(connection, None, ["app"])
        plan = setup.plan()
        assert plan.ok, plan.checks
        setup.apply(plan)
        again = setup.plan()
        assert not again.changes, [change.diff for change in again.changes]
        assert [check.detail for check in again.checks if check.check == "version"] == [
            "OpenSearch 2.19.1"
        ]
        return setup


def test_the_roles_file_is_made_from_the_roles() -> None:
    file = DEPLOY / "opensearch" / "roles.yml"
    assert file.read_text("utf-8") == opensearch_roles_yml()


def test_each_user_can_do_its_work_and_no_more(opensearch: OpenSearchCluster, prefix: str) -> None:
    """least privilege: set up, shipped, read, searched, erased, deleted; each by its own user."""
    node = opensearch
    set_up(node, prefix)
    with closing(sink_of(node, prefix)) as sink:
        assert sink.deliver(RECORDS) == [INDEXED] * 20
        assert {one.kind for one in sink.deliver(RECORDS[:3])} == {Kind.DUPLICATE}
        for method, path in (
            ("POST", f"/{prefix}-*/_search"),
            ("DELETE", f"/{prefix}-{DAY.replace('-', '.')}"),
            ("DELETE", f"/{prefix}-{DAY.replace('-', '.')}/_doc/{RECORDS[0].id}"),
            ("GET", "/_index_template"),
        ):
            assert refused(sink.connection, method, path), (method, path)

    node.ask("POST", f"/{prefix}-*/_refresh")
    header = RECORDS[0].header
    assert header is not None
    with closing(ElasticsearchReadBack(connection_of(node, prefix, "auditor"))) as back:
        assert back.days(header.log) == [DAY]
        assert [one.line for one in back.read(header.log, DAY)] == [r.line for r in RECORDS]
        headers = [record.header for record in RECORDS if record.header is not None]
        assert [one and one.line for one in back.fetch(headers)] == [r.line for r in RECORDS]
        assert back.strangers() == (0, [])
    with closing(connection_of(node, prefix, "auditor")) as auditor:
        assert refused(auditor, "POST", f"/{prefix}-{DAY.replace('-', '.')}/_doc", {})

    source = IndexSearch(config_of(node, prefix), lambda *_: None)
    found = [*source.records(parse('event_type="task.submitted" seq>7'), SearchScope())]
    every = [*source.records(parse(""), SearchScope())]
    assert [record.line for record in every] == [record.line for record in RECORDS]
    assert {record.seq for record in found} <= set(range(8, 21))
    with closing(open_source(config_of(node, prefix))) as fleet:
        [summary] = fleet.summaries()
        assert (summary.records, summary.last_seq) == (20, 20)
        assert summary.is_whole

    names = node.options(prefix).names
    with closing(ElasticsearchErasure(connection_of(node, prefix, "erasure"), names)) as eraser:
        assert eraser.erase([ErasedRecord(header.log, 1, DAY, header.hash)]) == []
    assert node.count(f"{prefix}-*") == 19
    with closing(connection_of(node, prefix, "index_retention")) as janitor:
        assert refused(janitor, "POST", f"/{prefix}-*/_search")
        answer = janitor.request("GET", f"/{prefix}-*/_stats/docs,store")
        (index,) = answer["indices"]
        janitor.request("DELETE", f"/{index}")
    assert node.count(f"{prefix}-*") == 0


def test_details_are_searched_where_they_are(opensearch: OpenSearchCluster, prefix: str) -> None:
    """flat_object: a value deep in the details is found by the server; a huge one is refused."""
    set_up(opensearch, prefix)
    log = "queen-rbee@hive1"
    wanted, _ = make_line(log, 1, details={"pool": {"name": "gpu a"}, "tries": 3, "none": None})
    other, _ = make_line(log, 2, details={"pool": {"name": "gpu b"}})
    huge, _ = make_line(log, 3, details={"text": "y" * 40_000})
    with closing(sink_of(opensearch, prefix)) as sink:
        outcomes = sink.deliver(
            [Shipment(line, parse_header(line)) for line in (wanted, other, huge)]
        )
    assert [outcome.kind for outcome in outcomes] == [
        Kind.INDEXED,
        Kind.INDEXED,
        Kind.QUARANTINED,
    ]
    opensearch.ask("POST", f"/{prefix}-*/_refresh")
    source = IndexSearch(config_of(opensearch, prefix), lambda *_: None)
    for query in ('details.pool.name="gpu a"', "details.tries=3"):
        assert [record.line for record in source.records(parse(query), SearchScope())] == [wanted]


def test_documents_that_contradict_each_other_are_all_stored(
    opensearch: OpenSearchCluster, prefix: str
) -> None:
    set_up(opensearch, prefix)
    at = f"{DAY}T07:12:00.000000Z"
    made: list[dict[str, Any]] = [
        {"@timestamp": at, "error": "text"},
        {"@timestamp": at, "error": {"message": "deep"}},
        {"@timestamp": at, "app": 1, "app.kubernetes.io/name": "x"},
        {"@timestamp": at, "message": "found by its words"},
    ]
    lines = [orjson.dumps(one) + b"\n" for one in made]
    documents = [Document("app", content_id("app", line), at, line) for line in lines]
    with closing(sink_of(opensearch, prefix)) as sink:
        assert sink.deliver(documents) == [INDEXED] * 4
        assert sink.deliver(documents) == [DUPLICATE] * 4
    pattern = f"{prefix}-app-*"
    opensearch.ask("POST", f"/{pattern}/_refresh")
    query = {"query": {"match": {"message": "words"}}}
    _, answer = opensearch.ask("POST", f"/{pattern}/_search", query)
    assert [hit["_source"] for hit in answer["hits"]["hits"]] == [made[3]]


def refused(connection: Connection, method: str, path: str, body: Any = None) -> bool:
    import elasticsearch

    try:
        connection.request(method, path, body=None if body is None else orjson.dumps(body))
    except elasticsearch.AuthorizationException:
        return True
    return False
