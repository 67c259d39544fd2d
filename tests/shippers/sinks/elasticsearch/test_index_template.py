from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from shippers.sinks.elasticsearch.index_template import index_template
from tests.support.elasticsearch import Cluster, request
from tests.support.shipments import shipments

TEMPLATE = index_template()["template"]


def fields(properties: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, mapping in properties.items():
        if "properties" in mapping:
            yield from fields(mapping["properties"], f"{prefix}{name}.")
        else:
            yield prefix + name, mapping
            for sub, submapping in mapping.get("fields", {}).items():
                yield f"{prefix}{name}.{sub}", submapping


MAPPED = dict(fields(TEMPLATE["mappings"]["properties"]))


def test_durable() -> None:
    """durable: an acknowledged write is on the server's disk (translog.durability is request)"""
    assert TEMPLATE["settings"]["index"]["translog"]["durability"] == "request"


def test_lenient() -> None:
    """lenient: what the mapping does not know stays in the document and is not indexed"""
    assert TEMPLATE["mappings"]["dynamic"] is False


def test_resolves() -> None:
    """resolves: every alias points to a field of the mapping"""
    aliases = {name: m["path"] for name, m in MAPPED.items() if m["type"] == "alias"}
    assert {MAPPED[path]["type"] for path in aliases.values()} <= {"keyword", "long", "ip"}
    assert aliases["event.sequence"] == "seq"


def test_it_is_the_template_that_is_there_as_a_file() -> None:
    path = Path(__file__).parents[4] / "deploy/elasticsearch/index-template.json"
    assert orjson.loads(path.read_bytes()) == index_template()


def test_it_has_the_numbers_of_shards_and_replicas_that_were_asked_for() -> None:
    for shards, replicas in ((1, 0), (3, 2)):
        index = index_template(shards=shards, replicas=replicas)["template"]["settings"]["index"]
        assert (index["number_of_shards"], index["number_of_replicas"]) == (shards, replicas)


def test_impossible_numbers_are_refused() -> None:
    for numbers in ({"shards": 0}, {"replicas": -1}):
        with pytest.raises(ValueError, match="shards must be at least 1"):
            index_template(**numbers)


def test_the_server_takes_it_and_finds_records_by_their_ecs_names(
    elasticsearch: Cluster, index_prefix: str
) -> None:
    url, index = elasticsearch.url, f"{index_prefix}-2026.11.23"
    template = index_template(index_prefix, replicas=0)
    assert request(url, "PUT", f"/_index_template/{index_prefix}", template)[0] == 200
    details = {"task_id": "t-1", "huge": 2**63 + 1, "deep": {"a": {"b": "c"}}, "long": "x" * 40_000}
    fields = {"resource": {"resource_type": "task", "resource_id": "t-1"}, "correlation_id": "r-7"}
    ((line, _),) = shipments(1, details=details, **fields)
    status, answer = request(url, "PUT", f"/{index}/_create/1?refresh=true", orjson.loads(line))
    assert status == 201, answer
    queries = {
        "event.action": "task_submitted",
        "event.sequence": 1,
        "event.outcome": "success",
        "user.id": "alice",
        "source.ip": "192.0.2.0/24",
        "service.name": "queen-rbee",
        "host.name": "hive1",
        "trace.id": "r-7",
        "details.deep.a.b": "c",
        "resource.resource_id": "t-1",
    }
    for field, value in queries.items():
        query = {"query": {"term": {field: value}}}
        status, answer = request(url, "POST", f"/{index}/_search", query)
        assert answer["hits"]["total"]["value"] == 1, field


def test_own() -> None:
    """own: who is given a template may change it: no table of it is anybody else's"""
    changed, expected = index_template(), orjson.dumps(index_template())
    properties = changed["template"]["mappings"]["properties"]
    properties["log"]["type"] = "text"
    assert properties["hash"]["type"] == "keyword", "nor is it another field's"
    properties["service"]["fields"].clear()
    del properties["actor"]["properties"]["ip"], properties["user"]
    assert orjson.dumps(index_template()) == expected
