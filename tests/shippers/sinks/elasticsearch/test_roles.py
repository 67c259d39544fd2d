"""The roles of deploy/elasticsearch on a real, secured cluster: what they allow, and what not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import elasticsearch
import pytest

from shippers.outcome import INDEXED, OutcomeKind
from shippers.sinks.elasticsearch.connection import Connection, Credentials
from shippers.sinks.elasticsearch.index_template import index_template
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.roles import ROLES, roles_yml
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from tests.support.elasticsearch import SecuredCluster
from tests.support.shipments import shipments

DEPLOY = Path(__file__).parents[4] / "deploy/elasticsearch"
RECORDS = shipments(4)


def test_files() -> None:
    """files: the files in deploy/elasticsearch are what this module makes"""
    made = {f"role-{name}.json": role for name, role in ROLES.items()}
    made["index-template.json"] = index_template()
    assert {path.name for path in DEPLOY.glob("*.json")} == set(made)
    for name, content in made.items():
        assert json.loads((DEPLOY / name).read_text("utf-8")) == content, name
    assert (DEPLOY / "roles.yml").read_text("utf-8") == roles_yml()


class Actors:
    """Sinks and connections of the cluster's users, for indices of one test."""

    def __init__(self, cluster: SecuredCluster, prefix: str) -> None:
        self.cluster = cluster
        self.options = ElasticsearchOptions(
            urls=(cluster.url,), ca_file=cluster.ca_file, index_prefix=prefix, replicas=0
        )
        self.index = f"{prefix}-2026.11.23"
        self._open: list[ElasticsearchSink | Connection] = []

    def credentials(self, user: str) -> Credentials:
        return Credentials(user, self.cluster.users[user].password)

    def sink(self, user: str) -> ElasticsearchSink:
        made = ElasticsearchSink("main", self.options, lambda: self.credentials(user))
        self._open.append(made)
        return made

    def connection(self, user: str) -> Connection:
        made = Connection(self.options, lambda: self.credentials(user))
        self._open.append(made)
        return made

    def close(self) -> None:
        for one in self._open:
            one.close()
        self.cluster.request("DELETE", f"/{self.index}")
        self.cluster.request("DELETE", f"/_index_template/{self.options.index_prefix}")


@pytest.fixture
def actors(secured_elasticsearch: SecuredCluster) -> Iterator[Actors]:
    made = Actors(secured_elasticsearch, f"llama-orch-test-{uuid.uuid4().hex[:8]}")
    template = index_template(made.options.index_prefix, replicas=0)
    path = f"/_index_template/{made.options.index_prefix}"
    assert secured_elasticsearch.request("PUT", path, template)[0] == 200
    yield made
    made.close()


def test_append_only(actors: Actors) -> None:
    """append_only: the shipper's role can create a document, can neither change nor delete one"""
    assert actors.sink("shipper").deliver(RECORDS) == [INDEXED] * 4
    connection, index = actors.connection("shipper"), actors.index
    document = f"/{index}/_doc/queen-rbee@hive1:2"
    forged = RECORDS[0].line
    attempts = [
        ("PUT", document, forged),
        ("DELETE", document, None),
        ("POST", f"/{index}/_update/queen-rbee@hive1:2", b'{"doc":{"outcome":"failure"}}'),
        ("DELETE", f"/{index}", None),
        ("PUT", f"/{index}/_settings", b'{"index":{"blocks":{"write":true}}}'),
        ("GET", document, None),
        ("GET", f"/{index}/_search", None),
        ("PUT", "/_index_template/other", b'{"index_patterns":["other-*"]}'),
        ("PUT", "/someone-elses/_create/1", forged),
    ]
    for method, path, body in attempts:
        with pytest.raises(elasticsearch.AuthorizationException):
            connection.request(method, path, body=body)
    bulk = b'{"%b":{"_index":"%b","_id":"queen-rbee@hive1:2"}}\n'
    for operation, source in ((b"index", forged), (b"delete", b""), (b"update", b'{"doc":{}}\n')):
        body = bulk % (operation, index.encode()) + source
        (item,) = connection.request("POST", "/_bulk", body=body)["items"]
        assert item[operation.decode()]["status"] in (403, 409), operation
    for record in RECORDS:
        assert record.header is not None
        path = f"/{index}/_doc/queen-rbee@hive1:{record.header.seq}"
        status, stored = actors.cluster.request("GET", path)
        assert (status, stored["_source"], stored["_version"]) == (200, json.loads(record.line), 1)


def test_deletes_only(secured_elasticsearch: SecuredCluster) -> None:
    """deletes_only: who retains indices can delete one of a day, and touch no document and no other

    The role's pattern is that of the records, so the prefix is below it.
    """
    made = Actors(secured_elasticsearch, f"llama-orch-audit-{uuid.uuid4().hex[:8]}")
    journal = f"llama-orch-journal-{uuid.uuid4().hex[:8]}"
    request = secured_elasticsearch.request
    try:
        assert made.sink("shipper").deliver(RECORDS) == [INDEXED] * 4
        assert request("PUT", f"/{journal}", {})[0] == 200
        connection, index = made.connection("index_retention"), made.index
        for method, path, body in [
            ("GET", f"/{index}/_doc/queen-rbee@hive1:2", None),
            ("GET", f"/{index}/_search", None),
            ("PUT", f"/{index}/_doc/queen-rbee@hive1:2", b"{}"),
            ("DELETE", f"/{index}/_doc/queen-rbee@hive1:2", None),
            ("PUT", f"/{journal}-2020.01.01", None),
            ("PUT", f"/{index}/_settings", b'{"index":{"blocks":{"write":true}}}'),
            ("DELETE", f"/{journal}", None),
            ("GET", f"/{journal}/_stats", None),
        ]:
            with pytest.raises(elasticsearch.AuthorizationException):
                connection.request(method, path, body=body)
        assert connection.request("GET", f"/{made.options.index_prefix}-*/_stats/docs")["indices"]
        assert connection.request("DELETE", f"/{index}")["acknowledged"]
    finally:
        request("DELETE", f"/{journal}")
        made.close()


def test_erases_only(secured_elasticsearch: SecuredCluster) -> None:
    """erases_only: who erases can read and delete a document, and neither change nor make one"""
    made = Actors(secured_elasticsearch, f"llama-orch-audit-{uuid.uuid4().hex[:8]}")
    try:
        assert made.sink("shipper").deliver(RECORDS) == [INDEXED] * 4
        connection, document = made.connection("erasure"), f"/{made.index}/_doc/queen-rbee@hive1:2"
        for method, path, body in [
            ("PUT", document, b"{}"),
            ("PUT", f"/{made.index}/_doc/queen-rbee@hive1:99", b"{}"),
            ("POST", f"/{made.index}/_update/queen-rbee@hive1:2", b'{"doc":{}}'),
            ("DELETE", f"/{made.index}", None),
            ("PUT", f"/{made.index}/_settings", b'{"index":{"blocks":{"write":true}}}'),
        ]:
            with pytest.raises(elasticsearch.AuthorizationException):
                connection.request(method, path, body=body)
        assert connection.request("GET", document)["found"]
        assert connection.request("DELETE", document)["result"] == "deleted"
    finally:
        made.close()


def test_the_shipper_makes_the_index_of_a_new_day_from_the_template(actors: Actors) -> None:
    assert actors.sink("shipper").deliver(RECORDS) == [INDEXED] * 4
    _, answer = actors.cluster.request("GET", f"/{actors.index}")
    settings = answer[actors.index]["settings"]["index"]
    assert settings["translog"]["durability"].lower() == "request"
    assert answer[actors.index]["mappings"]["properties"]["details"]["type"] == "flattened"


def test_what_is_sent_again_is_a_duplicate_that_only_a_reader_can_compare(actors: Actors) -> None:
    assert actors.sink("shipper").deliver(RECORDS) == [INDEXED] * 4
    again = actors.sink("shipper").deliver(RECORDS)
    assert [(o.kind, o.verified) for o in again] == [(OutcomeKind.DUPLICATE, False)] * 4
    read = actors.sink("reconciler").deliver(RECORDS)
    assert [(o.kind, o.verified) for o in read] == [(OutcomeKind.DUPLICATE, True)] * 4


def test_the_auditor_reads_and_writes_nothing(actors: Actors) -> None:
    actors.sink("shipper").deliver(RECORDS)
    connection = actors.connection("auditor")
    found = connection.request("GET", f"/{actors.index}/_doc/queen-rbee@hive1:1")
    assert found["_source"] == json.loads(RECORDS[0].line)
    outcomes = actors.sink("auditor").deliver(shipments(1, "rbee-hive@gpu1"))
    assert [(o.kind, o.status) for o in outcomes] == [(OutcomeKind.RETRY, 403)]


def test_who_may_not_write_at_all_is_retried_and_loses_nothing(actors: Actors) -> None:
    outcomes = actors.sink("nobody").deliver(RECORDS)
    assert [(o.kind, o.status) for o in outcomes] == [(OutcomeKind.RETRY, 403)] * 4


def test_a_password_that_was_rotated_is_taken_from_its_file_without_a_restart(
    actors: Actors,
) -> None:
    current = [Credentials("shipper", "the one before")]
    sink = ElasticsearchSink("main", actors.options, lambda: current[0])
    (outcome, *_) = sink.deliver(RECORDS)
    assert (outcome.kind, outcome.status) == (OutcomeKind.RETRY, 401)
    current[0] = actors.credentials("shipper")
    sink.deliver(RECORDS)  # refused once more, which makes the sink ask again
    assert sink.deliver(RECORDS) == [INDEXED] * 4
    sink.close()
