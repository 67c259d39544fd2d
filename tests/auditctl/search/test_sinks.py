"""Searching a sink gives the same answers as searching files."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from auditctl.config.sinks import ElasticsearchConfig, sink_for_target
from auditctl.errors import CommandFailed
from auditctl.search.index import IndexSearch
from auditctl.search.sqlite import SqliteSearch
from auditlog.format.record import (
    GENESIS_HASH,
    format_timestamp,
    log_prefix,
    parse_header,
    seal,
)
from auditlog.query.files import FileSearch
from auditlog.query.scope import SearchScope
from auditlog.query.syntax import parse
from shippers.item import Shipment
from shippers.sinks.elasticsearch.index_template import index_template
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from shippers.sinks.sqlite.sink import SqliteSink
from tests.support.elasticsearch import Cluster, SecuredCluster, request
from tests.support.logs import START, LogBuilder

if TYPE_CHECKING:
    from pathlib import Path

    from auditlog.query.files import Trouble

QUESTIONS = (
    "",
    "actor=alice",
    "actor.user_id='bob the 2nd'",
    "event_type=auth_failure outcome=failure",
    "event_type~^auth_ not actor=alice",
    "actor=alice or actor=carol",
    "details.tries>3",
    "details.tries=4",
    "details.gpu.id=a",
    "details.tag=x",
    "details.note=true",
    "details.long~y$",
    "actor!=alice",
    "seq>5 seq<=9",
    "details.note=null",
    "grün",
    "'/path/x'",
    "source.ip=192.0.2.7",
    "event.action=auth_failure trace.id=req-3",
)
SCOPES = (
    SearchScope(),
    SearchScope("rbee-*"),
    SearchScope("*[12]"),
    SearchScope("*", START + dt.timedelta(microseconds=2500), START + dt.timedelta(seconds=4)),
    SearchScope("*", START + dt.timedelta(days=1)),
)


@pytest.fixture
def lines(tmp_path: Path) -> list[bytes]:
    """Two logs over three days, several records in one millisecond."""
    made: list[bytes] = []
    for log, step in (("queen-rbee@hive1", 300), ("rbee-hive@gpu2", 400)):
        built = LogBuilder(tmp_path / "audit", log, step=dt.timedelta(microseconds=step))
        built.directory.mkdir(exist_ok=True)
        for number in range(12):
            if number in (6, 9):
                built.at += dt.timedelta(days=1)
            built.append(
                1,
                actor={"user_id": ("alice", "bob the 2nd", "carol")[number % 3], "ip": "192.0.2.7"},
                event_type="auth_failure" if number % 2 else "auth_success",
                outcome="failure" if number % 4 == 1 else "success",
                correlation_id=f"req-{number}",
                details={
                    "tries": number if number % 2 else f"{number}",
                    "gpu": {"id": "ab"[number % 2]},
                    "tag": ["x", "y"][: number % 3],
                    "note": (True, "true", None, "grün /path/x", 4.0)[number % 5],
                    "long": "x" * (1500 if number == 3 else 5) + "y",
                },
            )
        made += built.lines
    return made


def shipments(lines: list[bytes]) -> list[Shipment]:
    return [Shipment(line, parse_header(line)) for line in lines]


def index_source(url: str, prefix: str, tell: Trouble | None = None) -> IndexSearch:
    config = replace(sink_for_target(url), index_prefix=prefix)
    return IndexSearch(config, tell or nobody)


def deliver(lines: list[bytes], cluster: Cluster, prefix: str) -> IndexSearch:
    sink = ElasticsearchSink("main", ElasticsearchOptions((cluster.url,), index_prefix=prefix))
    sink.deliver(shipments(lines))
    sink.close()
    request(cluster.url, "POST", f"/{prefix}-*/_refresh")
    return index_source(cluster.url, prefix)


def nobody(*told: object) -> None:
    raise AssertionError(told)


def compare(directory: Path, other: SqliteSearch | IndexSearch) -> None:
    files = FileSearch([directory], nobody)
    some = 0
    for question in QUESTIONS:
        for scope in SCOPES:
            for reverse in (False, True):
                query = parse(question)
                expected = [record.line for record in files.records(query, scope, reverse=reverse)]
                found = [record.line for record in other.records(query, scope, reverse=reverse)]
                assert found == expected, (question, scope, reverse)
                some += bool(expected)
    assert some > 2 * len(QUESTIONS)


def test_same_answers_from_sqlite(tmp_path: Path, lines: list[bytes]) -> None:
    sink = SqliteSink("main", tmp_path / "sink.sqlite")
    sink.deliver(shipments(lines))
    compare(tmp_path / "audit", SqliteSearch(tmp_path / "sink.sqlite", nobody))
    sink.close()


def test_same_answers_from_elasticsearch(
    tmp_path: Path, lines: list[bytes], elasticsearch: Cluster, index_prefix: str
) -> None:
    compare(tmp_path / "audit", deliver(lines, elasticsearch, index_prefix))


def test_an_index_that_guessed_its_mapping_is_named_with_what_to_do(
    lines: list[bytes], elasticsearch: Cluster, index_prefix: str
) -> None:
    """Without the template texts are analysed, and nothing the index says of them is exact."""
    path = f"/{index_prefix}-2026.11.23/_doc/1?refresh=true"
    request(elasticsearch.url, "PUT", path, json.loads(lines[0]))
    source = index_source(elasticsearch.url, index_prefix)
    with pytest.raises(CommandFailed, match="template of `setup elasticsearch`"):
        [*source.records(parse("actor.user_id=carol"), SearchScope())]


def test_same_answers_of_an_index_that_is_not_there(
    elasticsearch: Cluster, index_prefix: str
) -> None:
    source = index_source(elasticsearch.url, index_prefix)
    assert [*source.records(parse("actor=alice"), SearchScope())] == []


def test_verbatim(lines: list[bytes], elasticsearch: Cluster, index_prefix: str) -> None:
    told: list[tuple[object, ...]] = []
    deliver(lines, elasticsearch, index_prefix)
    source = index_source(elasticsearch.url, index_prefix, lambda *what: told.append(what))
    assert sorted(record.line for record in source.records(parse(""), SearchScope())) == sorted(
        lines
    )
    assert told == []
    document = json.loads(lines[2])
    document["outcome"] = "success" if document["outcome"] == "failure" else "failure"
    path = f"/{index_prefix}-2026.11.23/_doc/queen-rbee@hive1:3?refresh=true"
    request(elasticsearch.url, "PUT", path, document)
    assert len([*source.records(parse(""), SearchScope())]) == len(lines)
    reason = "document queen-rbee@hive1:3 is not what was written: its bytes do not give its hash"
    assert told == [(elasticsearch.url, 0, reason)]


def test_more_hits_than_a_page_come_once_and_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: list[bytes],
    elasticsearch: Cluster, index_prefix: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("auditctl.search.index._PAGE", 5)
    source = deliver(lines, elasticsearch, index_prefix)
    files = FileSearch([tmp_path / "audit"], nobody)
    for reverse in (False, True):
        assert [
            record.line for record in source.records(parse(""), SearchScope(), reverse=reverse)
        ] == [record.line for record in files.records(parse(""), SearchScope(), reverse=reverse)]


def test_read_only(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "sink.sqlite"
    sink = SqliteSink("main", path)
    sink.deliver(shipments(lines))
    sink.close()
    before = path.read_bytes()
    assert len([*SqliteSearch(path, nobody).records(parse(""), SearchScope())]) == len(lines)
    assert path.read_bytes() == before
    beside = {"sink.sqlite-shm", "sink.sqlite-wal"}
    assert {file.name for file in tmp_path.iterdir()} - beside == {"audit", "sink.sqlite"}


@pytest.mark.parametrize("content", [None, b"no database, but long enough to be read as one"])
def test_a_file_that_is_no_sink_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CommandFailed, match=r"other\.sqlite: it cannot be searched"):
        [*SqliteSearch(path, nobody).records(parse(""), SearchScope())]
    assert path.exists() == (content is not None)


@pytest.mark.parametrize("levels", [300, 900])
@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_verbatim_also_of_what_is_nested_deeper_than_any_record(
    httpserver: HTTPServer, lines: list[bytes], levels: int, opened: bytes, closed: bytes
) -> None:
    """A document that somebody put there is told, or found if it fits its hash; the others are."""
    deep = opened * levels + b'"needle"' + closed * levels
    changed = lines[0].replace(b',"hash":"', b',"x":%b,"hash":"' % deep)
    body = b'"event_type":"other","x":%b' % deep
    sealed, _ = seal(log_prefix("z@hive1"), 99, GENESIS_HASH, format_timestamp(START), body)
    nameless = b'{"x":%b}' % deep
    found = [changed, nameless, sealed, lines[1]]
    hits = b",".join(b'{"sort":[1],"_source":%b}' % line for line in found)
    pages = [b'{"hits":{"hits":[%b]}}' % hits, b'{"hits":{"hits":[]}}']

    def search(_: Request) -> Response:
        headers = {"X-Elastic-Product": "Elasticsearch"}
        return Response(pages.pop(0), headers=headers, mimetype="application/json")

    httpserver.expect_request("/llama-*/_search").respond_with_handler(search)
    told: list[object] = []
    source = index_source(
        httpserver.url_for("").rstrip("/"), "llama", lambda *what: told.append(what[-1])
    )
    query = parse("needle or seq=2")
    shown = [record.line for record in source.records(query, SearchScope())]
    assert shown == [changed, sealed, lines[1]]
    assert told == [
        "document queen-rbee@hive1:1 is not what was written: its bytes do not give its hash",
        "a document is not a record",
    ]


def test_a_server_that_refuses_or_is_not_there_is_named_without_a_secret(
    httpserver: HTTPServer, tmp_path: Path
) -> None:
    headers = {"X-Elastic-Product": "Elasticsearch"}
    httpserver.expect_request("/llama-*/_search").respond_with_json(
        {"error": {"type": "security_exception", "reason": "secret-of-the-server"}},
        status=403,
        headers=headers,
    )
    (tmp_path / "password").write_text("hunter2\n")
    for url in (httpserver.url_for("").rstrip("/"), "http://127.0.0.1:9"):
        config = ElasticsearchConfig(
            name="main",
            urls=(url,),
            username="me",
            password_file=tmp_path / "password",
            index_prefix="llama",
        )
        with pytest.raises(CommandFailed) as failed:
            [*IndexSearch(config, nobody).records(parse(""), SearchScope())]
        text = str(failed.value)
        assert url in text
        assert "auditlog_auditor" in text
        assert "hunter2" not in text
        assert "secret-of" not in text


def test_same_answers_over_tls_for_who_may_only_read(
    tmp_path: Path, lines: list[bytes], secured_elasticsearch: SecuredCluster
) -> None:
    prefix = f"llama-orch-test-{uuid.uuid4().hex[:8]}"
    template = index_template(prefix, replicas=0)
    secured_elasticsearch.request("PUT", f"/_index_template/{prefix}", template)
    for line in lines[:4]:
        header = parse_header(line)
        assert header is not None
        path = f"/{prefix}-{header.day.replace('-', '.')}/_doc/{header.seq}?refresh=true"
        assert secured_elasticsearch.request("PUT", path, json.loads(line))[0] == 201
    (tmp_path / "password").write_text(secured_elasticsearch.users["auditor"].password)
    config = ElasticsearchConfig(
        name="main",
        urls=(secured_elasticsearch.url,),
        username="auditor",
        password_file=tmp_path / "password",
        ca_file=secured_elasticsearch.ca_file,
        index_prefix=prefix,
    )
    found = [
        record.line for record in IndexSearch(config, nobody).records(parse(""), SearchScope())
    ]
    assert found == lines[:4]
    (tmp_path / "password").write_text(secured_elasticsearch.users["shipper"].password)
    with pytest.raises(CommandFailed, match="auditlog_auditor"):
        [
            *IndexSearch(replace(config, username="shipper"), nobody).records(
                parse(""), SearchScope()
            )
        ]
