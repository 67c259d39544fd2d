"""Kibana cannot run here: what it imports is checked against the vocabulary and a real index."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import auditlog
from auditlog.events.vocabulary import EVENT_TYPES
from shippers.sinks.elasticsearch.index_template import index_template
from shippers.sinks.elasticsearch.options import DEFAULT_PREFIX
from tests.support.elasticsearch import Cluster, request
from tests.support.operations import DEPLOY, loaded_toml

LINES: Final = (DEPLOY / "kibana/llama-orch-audit.ndjson").read_text("utf-8").splitlines()
OBJECTS: Final[list[dict[str, Any]]] = [json.loads(line) for line in LINES]
SEARCHES: Final = [saved for saved in OBJECTS if saved["type"] == "search"]


def query_of(search: dict[str, Any]) -> str:
    source = json.loads(search["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
    assert source["query"]["language"] == "kuery"
    query: str = source["query"]["query"]
    return query


def fields() -> Iterator[str]:
    for search in SEARCHES:
        yield from search["attributes"]["columns"]
        yield from (name for name, _ in search["attributes"]["sort"])
        yield from re.findall(r"([\w.@]+) :", query_of(search))


def test_every_reference_leads_to_an_object_of_the_file() -> None:
    there = {(saved["type"], saved["id"]) for saved in OBJECTS}
    assert len(there) == len(OBJECTS)
    for saved in OBJECTS:
        for reference in saved["references"]:
            assert (reference["type"], reference["id"]) in there
    for search in SEARCHES:
        source = search["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"]
        [reference] = search["references"]
        assert json.loads(source)["indexRefName"] == reference["name"]


def test_the_view_is_of_the_indices_that_the_shipper_makes() -> None:
    views = [saved["attributes"] for saved in OBJECTS if saved["type"] == "index-pattern"]
    [journal] = loaded_toml(DEPLOY / "systemd/config.toml")["sources"]["journald"]
    of_the_journal = DEFAULT_PREFIX.replace("audit", journal["name"])
    assert [view["title"] for view in views] == [f"{DEFAULT_PREFIX}-*", f"{of_the_journal}-*"]
    assert {view["timeFieldName"] for view in views} == {"@timestamp"}


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
