from __future__ import annotations

from typing import Any

import pytest

from shippers.sinks.elasticsearch.product import (
    named_in_body,
    named_in_header,
    named_in_neither,
)

REFUSAL = {"type": "security_exception", "reason": "no permissions for [cluster:monitor/main]"}


def test_elasticsearch_is_named_in_a_header() -> None:
    assert named_in_header({"x-elastic-product": "Elasticsearch"})
    assert not named_in_header({"x-elastic-product": "other"})
    assert not named_in_header({})


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"version": {"distribution": "opensearch"}}),
        (401, {"error": REFUSAL}),
        (403, {"error": REFUSAL}),
    ],
)
def test_opensearch_is_named_in_the_body(status: int, body: Any) -> None:
    assert named_in_body(status, body) == "opensearch"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"version": {"distribution": "opensearch"}}),
        (200, {"version": {"distribution": "other"}}),
        (200, {"version": "2.0", "error": REFUSAL}),
        (200, {"version": {}}),
        (200, ["opensearch"]),
        (200, None),
        (500, {"error": REFUSAL}),
        (403, {"error": "no permissions for [a]"}),
        (403, {"error": {**REFUSAL, "type": "other"}}),
        (403, {"error": {**REFUSAL, "reason": "unknown"}}),
    ],
)
def test_anything_else_is_neither(status: int, body: Any) -> None:
    assert named_in_body(status, body) is None


@pytest.mark.parametrize(
    ("status", "body", "neither"),
    [
        (200, {"ok": True}, True),
        (302, "", True),
        (404, "<html>", True),
        (404, None, True),
        (404, {"detail": "Not Found"}, True),
        (405, "no POST", True),
        (501, "no POST", True),
        (404, {"error": {"type": "index_not_found_exception"}}, False),
        (404, {"_id": "a:1", "found": False}, False),
        (405, {"error": "Incorrect HTTP method"}, False),
        (400, "<html>", False),
        (401, "<html>", False),
        (403, {"message": "no"}, False),
        (413, "<html>", False),
        (429, "<html>", False),
        (502, "<html>", False),
    ],
)
def test_what_stands_before_a_cluster_may_refuse_in_its_own_words(
    status: int, body: Any, neither: bool
) -> None:
    assert named_in_neither(status, body) == neither
