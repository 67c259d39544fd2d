"""Kibana cannot run here: what it imports is checked against the vocabulary and a real index."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import auditlog
from auditlog.events.vocabulary import EVENT_TYPES
from shippers.service import ShippingService
from shippers.sinks.elasticsearch.index_template import index_template
from shippers.sinks.elasticsearch.options import DEFAULT_PREFIX, ElasticsearchOptions
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from tests.support.elasticsearch import Cluster, request
from tests.support.ndjson import ndjson_source
from tests.support.operations import DEPLOY, loaded_toml

LINES: Final = (DEPLOY / "kibana/llama-orch-audit.ndjson").read_text("utf-8").splitlines()
OBJECTS: Final[list[dict[str, Any]]] = [json.loads(line) for line in LINES]
VIEWS: Final = {s["id"]: s["attributes"] for s in OBJECTS if s["type"] == "index-pattern"}
EVERY_SEARCH: Final = [saved for saved in OBJECTS if saved["type"] == "search"]
SEARCHES: Final = [s for s in EVERY_SEARCH if s["references"][0]["id"] == "llama-orch-audit"]
OF_SOURCES: Final = [s for s in EVERY_SEARCH if s["references"][0]["id"] == "llama-orch-all"]


def query_of(search: dict[str, Any]) -> str:
    source = json.loads(search["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
    assert source["query"]["language"] == "kuery"
    query: str = source["query"]["query"]
    return query


def fields(searches: list[dict[str, Any]] = SEARCHES) -> Iterator[str]:
    for search in searches:
        yield from search["attributes"]["columns"]
        yield from (name for name, _ in search["attributes"]["sort"])
        yield from re.findall(r"([\w.@]+) :", query_of(search))


def test_every_reference_leads_to_an_object_of_the_file() -> None:
    there = {(saved["type"], saved["id"]) for saved in OBJECTS}
    assert len(there) == len(OBJECTS)
    for saved in OBJECTS:
        for reference in saved["references"]:
            assert (reference["type"], reference["id"]) in there
    assert len(SEARCHES) + len(OF_SOURCES) == len(EVERY_SEARCH)
    for search in EVERY_SEARCH:
        source = search["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"]
        [reference] = search["references"]
        assert json.loads(source)["indexRefName"] == reference["name"]


def test_the_view_is_of_the_indices_that_the_shipper_makes() -> None:
    [journal] = loaded_toml(DEPLOY / "systemd/config.toml")["sources"]["journald"]
    of_the_journal = DEFAULT_PREFIX.replace("audit", journal["name"])
    page = (DEPLOY.parent / "docs/put-it-on-a-host.md").read_text("utf-8")
    [files] = re.findall(r'\[\[sources\.ndjson\]\]\nname = "(\w+)"', page)
    assert [view["title"] for view in VIEWS.values()] == [
        f"{DEFAULT_PREFIX}-*",
        f"{of_the_journal}-*",
        f"{DEFAULT_PREFIX.replace('audit', files)}-*",
        "llama-orch-*",
    ]
    assert {view["timeFieldName"] for view in VIEWS.values()} == {"@timestamp"}


def test_what_is_searched_for_in_other_sources_is_in_their_documents(
    elasticsearch: Cluster, tmp_path: Path
) -> None:
    """Beside audit logs, whose template has other fields; the view of all takes both."""
    name = f"llama-orch-test-{uuid.uuid4().hex[:8]}"
    app = tmp_path / "logs/app.log"
    app.parent.mkdir()
    app.write_text('{"message":"up","level":"info"}\nno object\n')
    audit = tmp_path / "audit"
    auditlog.open(audit, service="queen-rbee", host="h1").close()
    options = ElasticsearchOptions(
        urls=(elasticsearch.url,), index_prefix=f"{name}-audit", replicas=0
    )
    try:
        with ElasticsearchSink("main", options) as sink:
            sources = [ndjson_source(app.parent, "*.log")]
            shipping = ShippingService([audit], [sink], tmp_path / "state", sources=sources)
            assert shipping.run_once().shipped == 5
        assert request(elasticsearch.url, "POST", f"/{name}-*/_refresh")[0] == 200
        asked = ",".join(sorted(set(fields(OF_SOURCES))))
        status, answer = request(elasticsearch.url, "GET", f"/{name}-*/_field_caps?fields={asked}")
        assert status == 200
        assert set(fields(OF_SOURCES)) <= set(answer["fields"])
        assert [*answer["fields"]["@timestamp"]] == ["date"], "one time field for the view of all"
        for search, expected in zip(OF_SOURCES, (1, 2), strict=True):
            query = {"query": {"query_string": {"query": query_of(search).replace(" : ", ":")}}}
            status, answer = request(elasticsearch.url, "POST", f"/{name}-*/_search", query)
            assert answer["hits"]["total"]["value"] == expected
    finally:
        elasticsearch.forget(name)


def test_every_event_type_that_is_searched_for_is_in_the_vocabulary() -> None:
    named = {
        name
        for search in SEARCHES
        for name in re.findall(r'"([a-z_]+)"', query_of(search))
        if "event_type" in query_of(search)
    }
    assert len(named) > 20
    assert named <= set(EVENT_TYPES)


def test_every_field_is_one_of_a_real_index(elasticsearch: Cluster, index_prefix: str) -> None:
    template = index_template(index_prefix, replicas=0)
    assert request(elasticsearch.url, "PUT", f"/_index_template/{index_prefix}", template)[0] == 200
    assert request(elasticsearch.url, "PUT", f"/{index_prefix}-2026.11.24")[0] == 200
    asked = ",".join(sorted(set(fields())))
    status, answer = request(
        elasticsearch.url, "GET", f"/{index_prefix}-*/_field_caps?fields={asked}"
    )
    assert status == 200
    assert set(fields()) <= set(answer["fields"])
    for name in set(fields()):
        [kind] = answer["fields"][name].values()
        assert kind["searchable"], name


def test_the_searches_find_what_they_are_for(
    elasticsearch: Cluster, index_prefix: str, tmp_path: Any
) -> None:
    """As Lucene queries, which these read the same as KQL."""
    template = index_template(index_prefix, replicas=0)
    request(elasticsearch.url, "PUT", f"/_index_template/{index_prefix}", template)
    with auditlog.open(tmp_path, service="queen-rbee", host="h1") as log:
        log.emit(
            auditlog.events.TaskSubmitted(task_id="t1", model_ref="m", correlation_id="req-12345")
        )
        log.emit(auditlog.events.AuthFailure(ip="192.0.2.7"))
        log.emit(auditlog.events.PoolDeleted(pool_id="a"))
        log.emit(auditlog.events.DataDeleted(customer_id="c", data_types=["prompts"]))
    for record in auditlog.read(tmp_path, log_events=True):
        path = f"/{index_prefix}-2026.11.24/_create/{record.log}:{record.seq}?refresh=true"
        assert request(elasticsearch.url, "PUT", path, record.fields)[0] == 201
    for search in SEARCHES:
        query = {"query": {"query_string": {"query": query_of(search).replace(" : ", ":")}}}
        query["query"]["query_string"]["query"] = re.sub(
            r"\bor\b", "OR", query["query"]["query_string"]["query"]
        )
        status, answer = request(elasticsearch.url, "POST", f"/{index_prefix}-*/_search", query)
        assert status == 200, answer
        found = answer["hits"]["total"]["value"]
        assert 0 < found < 7, f"{search['attributes']['title']} finds {found}"
