from __future__ import annotations

from typing import Any

import pytest

from shippers.sinks.elasticsearch.product import describe, named_in_body, named_in_header

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
    ("headers", "words"),
    [
        ({}, "status 502"),
        ({"content-type": "text/html"}, "status 502, text/html"),
        ({"server": "nginx/1.2"}, "status 502, from nginx/1.2"),
        (
            {"server": "nginx", "content-type": "text/html"},
            "status 502, text/html, from nginx",
        ),
        ({"server": "\x1b[31m<b>" + "x" * 60}, "status 502, from ??31m?b?" + "x" * 32),
    ],
)
def test_what_else_answers_is_described_without_its_content(
    headers: dict[str, str], words: str
) -> None:
    said = describe(502, headers)
    assert said == f"this is not Elasticsearch or OpenSearch: it answered with {words}"
