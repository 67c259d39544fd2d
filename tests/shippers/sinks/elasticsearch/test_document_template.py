from __future__ import annotations

import copy
from fnmatch import fnmatchcase
from hashlib import sha256

import orjson
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.index_names import IndexNames
from shippers.sinks.elasticsearch.document_template import document_template, template_for
from shippers.sinks.elasticsearch.index_template import index_template
from shippers.sinks.elasticsearch.options import ElasticsearchOptions

names = st.from_regex(r"[a-c-]{1,4}", fullmatch=True)


def test_durable() -> None:
    """durable: an acknowledged write is on the server's disk (translog.durability is request)"""
    body = document_template("llama-orch-audit", "journal", shards=2, replicas=0)
    index = body["template"]["settings"]["index"]
    assert index["translog"] == {"durability": "request"}
    assert (index["number_of_shards"], index["number_of_replicas"]) == (2, 0)


@given(one=names, other=names)
def test_apart(one: str, other: str) -> None:
    """apart: of two sources whose patterns overlap, the longer name has the higher priority"""
    bodies = {name: document_template("x-audit", name) for name in (one, other)}
    index = f"{IndexNames('x-audit').of_source(one).plain}-2026.11.23"
    fitting = [
        name for name, body in bodies.items() if fnmatchcase(index, body["index_patterns"][0])
    ]
    assert max(fitting, key=lambda name: bodies[name]["priority"]) in (one, other)
    priorities = [bodies[name]["priority"] for name in fitting]
    assert len(set(priorities)) == len(priorities)
    assert min(priorities) > index_template()["priority"]


def test_own() -> None:
    """own: who is given a template may change it: no table of it is anybody else's"""
    changed = document_template("x-audit", "journal")
    expected = copy.deepcopy(changed)
    mappings = changed["template"]["mappings"]
    mappings["properties"]["auditlog.source.path"]["type"] = "text"
    assert mappings["properties"]["auditlog.source.host"]["type"] == "keyword"
    mappings["dynamic_templates"][1]["texts"]["mapping"].clear()
    assert mappings["dynamic_templates"][4]["booleans"]["mapping"]
    del mappings["properties"]["auditlog.fields"]
    assert document_template("x-audit", "journal") == expected


def test_the_source_takes_the_place_of_audit_in_the_name() -> None:
    assert IndexNames("llama-orch-audit").of_source("journal").plain == "llama-orch-journal"
    assert IndexNames("other").of_source("journal").plain == "other-journal"


def test_the_version_rises_with_every_change() -> None:
    """Set-up replaces a template whose content differs; a person tells the two by the version."""
    body = document_template("x-audit", "journal")
    digest = sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    assert (body["version"], digest[:16]) == (3, "0eb4c74ec5cd0281")


def test_no_document_is_refused_for_its_fields() -> None:
    template = document_template("x-audit", "journal")["template"]
    mapping = template["settings"]["index"]["mapping"]
    assert mapping["ignore_malformed"] is True
    assert mapping["total_fields"]["ignore_dynamic_beyond_limit"] is True
    assert template["mappings"]["subobjects"] is False
    assert template["mappings"]["date_detection"] is False


def test_the_audit_logs_and_each_source_have_a_template_of_the_size_that_is_set() -> None:
    options = ElasticsearchOptions(
        urls=("http://localhost:9200",), index_prefix="x-audit", shards=3, replicas=2
    )
    size = {"shards": 3, "replicas": 2}
    assert template_for(options) == ("x-audit", index_template("x-audit", **size))
    expected = document_template("x-audit", "journal", **size)
    assert template_for(options, "journal") == ("x-journal", expected)
    index = document_template("x-audit", "journal")["template"]["settings"]["index"]
    assert (index["number_of_shards"], index["number_of_replicas"]) == (1, 1)
