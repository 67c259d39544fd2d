"""The Elasticsearch sink against faults on the wire, which no healthy server makes."""

from __future__ import annotations

import base64
import datetime as dt
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import elasticsearch
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from shippers.outcome import DUPLICATE, INDEXED, DeliveryOutcome
from shippers.outcome import OutcomeKind as Kind
from shippers.sinks.elasticsearch.connection import Credentials
from shippers.sinks.elasticsearch.index_template import TEMPLATE_VERSION, index_template
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from tests.support.elasticsearch import VERSION, Cluster, request
from tests.support.shipments import shipments

RECORDS = shipments(4)
HASHES = {f"queen-rbee@hive1:{r.header.seq}": r.header.hash for r in RECORDS if r.header}
SECRET = "s3cret-passw0rd"
SHIPPER = Credentials("shipper", SECRET)

Answer = Callable[[list[str]], Response]


def answer(body: object, status: int = 200) -> Response:
    text = body if isinstance(body, str) else json.dumps(body)
    headers = {"X-Elastic-Product": "Elasticsearch"}
    return Response(text, status, headers, content_type="application/json")


def error(status: int, kind: str) -> Response:
    return answer({"error": {"type": kind, "reason": "a reason"}, "status": status}, status)


def items(ids: list[str], changes: dict[int, dict[str, Any]] | None = None) -> Response:
    changes = changes or {}
    made = [{"_id": i, "status": 201, **changes.get(n, {})} for n, i in enumerate(ids)]
    return answer({"items": [{"create": item} for item in made]})


class Wire:
    """A server that answers every bulk request as told, and remembers the ids it was sent."""

    def __init__(self, server: HTTPServer) -> None:
        self.server = server
        self.url = server.url_for("").rstrip("/")
        self.sent: list[list[str]] = []
        self.bodies: list[bytes] = []
        self.bulk: Answer = items
        self.mget: Answer = lambda ids: answer(
            {"docs": [{"_id": i, "found": True, "_source": {"hash": HASHES[i]}} for i in ids]}
        )
        server.expect_request("/_bulk").respond_with_handler(self._bulk)
        server.expect_request("/_mget").respond_with_handler(self._mget)

    def _bulk(self, asked: Request) -> Response:
        body = asked.get_data()
        self.bodies.append(body)
        self.sent.append([json.loads(x)["create"]["_id"] for x in body.splitlines()[::2]])
        return self.bulk(self.sent[-1])

    def _mget(self, asked: Request) -> Response:
        return self.mget([doc["_id"] for doc in json.loads(asked.get_data())["docs"]])


@pytest.fixture
def wire(httpserver: HTTPServer) -> Wire:
    return Wire(httpserver)


@pytest.fixture
def sink(wire: Wire) -> Iterator[ElasticsearchSink]:
    made = make(wire.url)
    yield made
    made.close()


def make(url: str, credentials: Credentials = SHIPPER, **options: Any) -> ElasticsearchSink:
    chosen = ElasticsearchOptions(urls=(url,), **{"manage_template": False, **options})
    return ElasticsearchSink("main", chosen, lambda: credentials)


def kinds(outcomes: list[DeliveryOutcome]) -> list[Kind]:
    return [outcome.kind for outcome in outcomes]


WHOLE = {
    "429": (lambda _: error(429, "es_rejected_execution_exception"), "429 es_rejected"),
    "503": (lambda _: error(503, "unavailable_shards_exception"), "503"),
    "500": (lambda _: Response("oops", 500), "500"),
    "502 of a proxy": (lambda _: Response("<html>bad gateway</html>", 502), "502"),
    "401": (lambda _: error(401, "security_exception"), "refuses the credentials (401)"),
    "403": (lambda _: error(403, "security_exception"), "403 security_exception"),
    "block": (lambda _: error(403, "cluster_block_exception"), "403 cluster_block_exception"),
    "400": (lambda _: error(400, "illegal_argument_exception"), "400"),
    "404": (lambda _: error(404, "index_not_found_exception"), "404"),
    "truncated": (lambda ids: answer(items(ids).get_data(as_text=True)[:-40]), "not valid JSON"),
    "empty": (lambda _: answer(""), "no items"),
    "other product": (
        lambda _: Response("{}", 200, content_type="application/json"),
        "not Elastic",
    ),
    "fewer": (lambda ids: items(ids[:-1]), "3 items for 4 records"),
    "more": (lambda ids: items([*ids, "x:1"]), "5 items for 4 records"),
    "reordered": (lambda ids: items(ids[::-1]), "other records than were sent"),
}


@pytest.mark.parametrize("fault", WHOLE)
def test_an_answer_that_proves_nothing_is_retry_for_all(
    wire: Wire, sink: ElasticsearchSink, fault: str
) -> None:
    wire.bulk, reason = WHOLE[fault]
    outcomes = sink.deliver(RECORDS)
    assert kinds(outcomes) == [Kind.RETRY] * 4
    assert reason in outcomes[0].reason
    assert len(wire.sent) == 1, "one deliver is one attempt"


def test_items_are_judged_one_by_one(wire: Wire, sink: ElasticsearchSink) -> None:
    busy = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "r"}}
    bad = {"status": 400, "error": {"type": "document_parsing_exception", "reason": "field [x]"}}
    wire.bulk = lambda ids: items(ids, {1: busy, 2: bad})
    outcomes = sink.deliver(RECORDS)
    assert kinds(outcomes) == [
        Kind.INDEXED,
        Kind.RETRY,
        Kind.QUARANTINED,
        Kind.INDEXED,
    ]
    assert outcomes[2].server_message == "field [x]"


def test_the_document_is_the_raw_line(wire: Wire, sink: ElasticsearchSink) -> None:
    sink.deliver(RECORDS)
    assert wire.bodies[0].splitlines(keepends=True)[1::2] == [r.line for r in RECORDS]


def test_a_body_that_is_too_large_is_halved_down_to_one_record(
    wire: Wire, sink: ElasticsearchSink
) -> None:
    poison = "queen-rbee@hive1:3"
    wire.bulk = lambda ids: answer({}, 413) if poison in ids or len(ids) > 2 else items(ids)
    outcomes = sink.deliver(RECORDS)
    assert kinds(outcomes) == [
        Kind.INDEXED,
        Kind.INDEXED,
        Kind.QUARANTINED,
        Kind.INDEXED,
    ]
    assert outcomes[2].status == 413
    assert [len(ids) for ids in wire.sent] == [4, 2, 2, 1, 1]


def test_a_size_that_was_refused_is_not_tried_again(wire: Wire, sink: ElasticsearchSink) -> None:
    wire.bulk = lambda ids: answer({}, 413) if len(ids) > 2 else items(ids)
    assert sink.deliver(RECORDS) == [INDEXED] * 4
    wire.sent.clear()
    assert sink.deliver(RECORDS) == [INDEXED] * 4
    assert max(len(ids) for ids in wire.sent) <= 2


CONFLICT = {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "r"}}


def test_a_conflict_with_the_same_stored_hash_is_a_duplicate(
    wire: Wire, sink: ElasticsearchSink
) -> None:
    wire.bulk = lambda ids: items(ids, {0: CONFLICT, 3: CONFLICT})
    assert sink.deliver(RECORDS) == [DUPLICATE, INDEXED, INDEXED, DUPLICATE]


@pytest.mark.parametrize("source", [{"hash": "f" * 64}, {}, None])
def test_a_conflict_with_another_stored_hash_is_an_alarm(
    wire: Wire, sink: ElasticsearchSink, source: object
) -> None:
    wire.bulk = lambda ids: items(ids, {1: CONFLICT})
    wire.mget = lambda ids: answer({"docs": [{"_id": ids[0], "found": True, "_source": source}]})
    outcomes = sink.deliver(RECORDS)
    assert kinds(outcomes) == [
        Kind.INDEXED,
        Kind.QUARANTINED,
        Kind.INDEXED,
        Kind.INDEXED,
    ]
    assert outcomes[1].alarm


UNREADABLE = {
    "whole request": lambda _: error(403, "security_exception"),
    "per document": lambda ids: answer(
        {"docs": [{"_id": i, "error": {"type": "security_exception"}} for i in ids]}
    ),
}


@pytest.mark.parametrize("way", UNREADABLE)
def test_without_the_privilege_to_read_a_conflict_is_an_unverified_duplicate_said_once(
    wire: Wire, sink: ElasticsearchSink, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    wire.bulk = lambda ids: items(ids, {0: CONFLICT})
    wire.mget = UNREADABLE[way]
    for _ in range(3):
        outcomes = sink.deliver(RECORDS)
        assert outcomes[0].kind is Kind.DUPLICATE
        assert not outcomes[0].verified
    said = [r for r in caplog.records if "may not read" in r.message]
    assert len(said) == 1


MGET_TROUBLE = {
    "503": lambda _: error(503, "unavailable_shards_exception"),
    "fewer": lambda _: answer({"docs": []}),
    "no docs": lambda _: answer({}),
    "another id": lambda _: answer({"docs": [{"_id": "x:1", "found": True, "_source": {}}]}),
    "gone": lambda ids: answer({"docs": [{"_id": ids[0], "found": False}]}),
    "shard error": lambda ids: answer(
        {"docs": [{"_id": ids[0], "error": {"type": "no_shard_available_action_exception"}}]}
    ),
}


@pytest.mark.parametrize("trouble", MGET_TROUBLE)
def test_a_conflict_that_cannot_be_compared_now_is_retried(
    wire: Wire, sink: ElasticsearchSink, trouble: str
) -> None:
    wire.bulk = lambda ids: items(ids, {0: CONFLICT})
    wire.mget = MGET_TROUBLE[trouble]
    assert kinds(sink.deliver(RECORDS)) == [Kind.RETRY] + [Kind.INDEXED] * 3


def test_a_server_that_never_answers_is_a_timeout(wire: Wire) -> None:
    release = threading.Event()

    def hang(ids: list[str]) -> Response:
        release.wait(60)
        return items(ids)

    wire.bulk = hang
    sink = make(wire.url, request_timeout=dt.timedelta(seconds=0.2))
    outcomes = sink.deliver(RECORDS)
    release.set()
    sink.close()
    assert kinds(outcomes) == [Kind.RETRY] * 4
    assert outcomes[0].reason == "no answer within the request timeout"


def test_a_connection_that_is_cut_is_one_attempt_and_not_several() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepted = []

        def cut() -> None:
            while True:
                connection, _ = listening.accept()
                accepted.append(connection.recv(100))
                connection.close()
                if accepted[-1] == b"stop":
                    return

        thread = threading.Thread(target=cut)
        thread.start()
        sink = make(f"http://127.0.0.1:{listening.getsockname()[1]}")
        outcomes = sink.deliver(RECORDS)
        sink.close()
        with socket.create_connection(listening.getsockname()) as last:
            last.sendall(b"stop")
        thread.join(60)
    assert kinds(outcomes) == [Kind.RETRY] * 4
    assert len(accepted) == 2


def test_with_several_urls_a_dead_one_is_left_for_the_next(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After a second a dead one would be tried again, as it should, and four attempts may take that.
    monkeypatch.setattr("elastic_transport._node_pool.time", SimpleNamespace(time=lambda: 0.0))
    options = ElasticsearchOptions(urls=("http://127.0.0.1:1", wire.url), manage_template=False)
    sink = ElasticsearchSink("main", options)
    attempts = [kinds(sink.deliver(RECORDS))[0] for _ in range(4)]
    sink.close()
    assert attempts.count(Kind.RETRY) <= 1
    assert attempts[-1] is Kind.INDEXED


def test_credentials_are_sent_and_shown_nowhere(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = []

    def refuse(_: list[str]) -> Response:
        seen.append(wire.server.log)
        return error(401, "security_exception")

    wire.bulk = refuse
    for credentials in (SHIPPER, Credentials(api_key=SECRET)):
        sink = make(wire.url, credentials)
        outcomes = sink.deliver(RECORDS)
        connection = sink.connection
        shown = f"{sink!r} {sink._options!r} {sink.address} {outcomes!r} {credentials!r}"
        shown += f"{connection!r} {connection._transport!r}"
        assert SECRET not in shown
        sink.close()
    sent = [asked.headers["Authorization"] for asked, _ in wire.server.log]
    assert [header.split()[0] for header in sent] == ["Basic", "ApiKey"]
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"urls": ()},
        {"urls": ("es.example:9200",)},
        {"urls": ("ftp://es.example",)},
        {"urls": (f"https://shipper:{SECRET}@es.example",)},
        {"urls": ("http://a",), "ca_fingerprint": "12:34"},
        {"urls": ("http://a",), "ca_fingerprint": "ab" * 32, "ca_file": Path("ca.pem")},
        {"urls": ("http://a",), "client_key_file": Path("key.pem")},
    ],
)
def test_impossible_options_are_refused_without_showing_a_secret(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        ElasticsearchOptions(**options)
    assert SECRET not in str(raised.value)


def test_a_url_without_port_means_the_schemes_own(wire: Wire) -> None:
    for url in ("http://es.example", "https://es.example/prefix"):
        sink = ElasticsearchSink("main", ElasticsearchOptions(urls=(url,)))
        (node,) = sink.connection._transport.node_pool.all()
        assert (node.config.port, node.config.path_prefix) == (
            (80, "") if url.startswith("http:") else (443, "/prefix")
        )
        sink.close()


def test_the_template_is_put_once_and_kept_when_it_is_as_new(
    elasticsearch: Cluster, index_prefix: str
) -> None:
    path = f"/_index_template/{index_prefix}"

    def version_after_delivery() -> int:
        sink = make(elasticsearch.url, index_prefix=index_prefix, manage_template=True, replicas=0)
        sink.deliver(RECORDS[:1])
        sink.close()
        _, answer = request(elasticsearch.url, "GET", path)
        return int(answer["index_templates"][0]["index_template"]["version"])

    assert version_after_delivery() == TEMPLATE_VERSION
    for version, afterwards in [(0, TEMPLATE_VERSION), (999, 999)]:
        other = {**index_template(index_prefix), "version": version}
        assert request(elasticsearch.url, "PUT", path, other)[0] == 200
        assert version_after_delivery() == afterwards


def test_a_user_who_may_not_put_templates_ships_all_the_same(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "auditlog")
    wire.server.expect_request("/_index_template/llama-orch-audit").respond_with_response(
        error(403, "security_exception")
    )
    sink = make(wire.url, manage_template=True)
    assert sink.deliver(RECORDS) == [INDEXED] * 4
    assert sink.deliver(RECORDS) == [INDEXED] * 4
    said = [record.levelname for record in caplog.records if "auditctl setup" in record.message]
    assert said == ["INFO"], "it is as it should be, and said once"
    sink.close()


def test_nothing_is_indexed_before_the_template_could_be_looked_at(wire: Wire) -> None:
    wire.server.expect_request("/_index_template/llama-orch-audit").respond_with_response(
        error(503, "master_not_discovered_exception")
    )
    sink = make(wire.url, manage_template=True)
    assert kinds(sink.deliver(RECORDS)) == [Kind.RETRY] * 4
    assert wire.sent == []
    sink.close()


def test_a_document_the_real_mapping_refuses_is_quarantined_and_the_rest_indexed(
    elasticsearch: Cluster, index_prefix: str
) -> None:
    bad = shipments(3, actor="not an object")
    records = [RECORDS[0], bad[1], RECORDS[2]]
    sink = make(elasticsearch.url, index_prefix=index_prefix, manage_template=True, replicas=0)
    outcomes = sink.deliver(records)
    sink.close()
    assert kinds(outcomes) == [Kind.INDEXED, Kind.QUARANTINED, Kind.INDEXED]
    assert "document_parsing_exception" in outcomes[1].reason
    assert "actor" in outcomes[1].server_message


def test_a_read_only_index_is_retried_until_it_is_not(
    elasticsearch: Cluster, index_prefix: str
) -> None:
    sink = make(elasticsearch.url, index_prefix=index_prefix, manage_template=True, replicas=0)
    assert sink.deliver(RECORDS[:1]) == [INDEXED]
    settings = f"/{index_prefix}-*/_settings"
    for block in ("write", "read_only", "read_only_allow_delete"):
        request(elasticsearch.url, "PUT", settings, {f"index.blocks.{block}": True})
        outcomes = sink.deliver(RECORDS[1:])
        assert kinds(outcomes) == [Kind.RETRY] * 3
        assert "cluster_block_exception" in outcomes[0].reason
        request(elasticsearch.url, "PUT", settings, {f"index.blocks.{block}": None})
    request(elasticsearch.url, "POST", f"/{index_prefix}-2026.11.23/_close")
    assert kinds(sink.deliver(RECORDS[1:])) == [Kind.RETRY] * 3
    request(elasticsearch.url, "POST", f"/{index_prefix}-2026.11.23/_open")
    assert sink.deliver(RECORDS) == [DUPLICATE, INDEXED, INDEXED, INDEXED]
    sink.close()


@pytest.mark.elasticsearch
def test_the_client_is_the_one_that_this_run_is_for() -> None:
    """Version 8 of the server is tested with version 8 of the client, not with what was there."""
    assert f"{elasticsearch.__version__[0]}." == VERSION[:2]


def test_credentials_are_sent_as_the_server_expects_them(wire: Wire) -> None:
    """A password as UTF-8; an API key encoded, also when it is given as its id and secret."""
    encoded = base64.b64encode(b"id:key").decode()
    for credentials in (
        Credentials("ä", "pässwörd"),
        Credentials(api_key="id:key"),
        Credentials(api_key=encoded),
    ):
        sink = make(wire.url, credentials)
        sink.deliver(RECORDS)
        sink.close()
    sent = list(dict.fromkeys(asked.headers["Authorization"] for asked, _ in wire.server.log))
    basic = base64.b64encode("ä:pässwörd".encode()).decode()
    assert sent == [f"Basic {basic}", f"ApiKey {encoded}"]


def test_a_bulk_without_an_answer_in_time_is_halved(wire: Wire) -> None:
    records, over = shipments(120), threading.Event()

    def answer_small_ones(ids: list[str]) -> Response:
        if len(ids) > 60:
            over.wait(60)
        return items(ids)

    wire.bulk = answer_small_ones
    sink = make(wire.url, request_timeout=dt.timedelta(seconds=2))
    assert kinds(sink.deliver(records)) == [Kind.RETRY] * 120
    over.set()  # this server answers one after the other
    assert sink.deliver(records) == [INDEXED] * 120
    sizes = [len(ids) for ids in wire.sent]
    assert (sizes[0], sum(sizes[1:]), max(sizes[1:])) == (120, 120, 60)
    sink.close()
