"""Answers that prove nothing, to a whole shipping service: the cursor waits for what is proven."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from auditlog.cursors import CursorStore
from shippers.service import ShippingService
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from tests.shippers.conftest import Running
from tests.support.logs import write_log
from tests.support.waiting import eventually

LOG = "queen-rbee@hive1"
ACTION = re.compile(r'^\{"create":.*"_id":"([^"]*)"', re.MULTILINE)


def body(ids: list[str], status: object = 201) -> str:
    return json.dumps({"items": [{"create": {"_id": i, "status": status}} for i in ids]})


FAULTS: dict[str, Callable[[list[str]], str]] = {
    "fewer": lambda ids: body(ids[:-1]),
    "more": lambda ids: body([*ids, f"{LOG}:999"]),
    "reordered": lambda ids: body(ids[::-1]),
    "repeated": lambda ids: body([ids[0]] * len(ids)),
    "unknown status": lambda ids: body(ids, 299),
    "no status": lambda ids: body(ids, None),
    "truncated": lambda ids: body(ids)[:-7],
    "truncated to nothing": lambda _: "",
    "no items": lambda _: "{}",
    "a list": lambda _: "[]",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_cursor_waits_for_what_is_proven(
    httpserver: HTTPServer,
    tmp_path: Path,
    running: Callable[[ShippingService], Running],
    fault: str,
) -> None:
    """Record 21 is answered for wrongly until the server is mended; nothing behind it counts."""
    mended = False
    asked = 0

    def bulk(request: Request) -> Response:
        nonlocal asked
        ids = re.findall(
            r'^\{"create":.*"_id":"([^"]*)"', request.get_data(as_text=True), re.MULTILINE
        )
        wrong = f"{LOG}:21" in ids and not mended
        asked += wrong
        text = FAULTS[fault](ids) if wrong else body(ids)
        headers = {"X-Elastic-Product": "Elasticsearch"}
        return Response(text, 200, headers, content_type="application/json")

    httpserver.expect_request("/_bulk").respond_with_handler(bulk)
    audit, state = tmp_path / "audit", tmp_path / "state"
    built = write_log(audit, records=20)
    url = httpserver.url_for("").rstrip("/")
    sink = ElasticsearchSink("main", ElasticsearchOptions(urls=(url,), manage_template=False))
    service = running(ShippingService([audit], [sink], state))
    store = CursorStore(state)

    def acknowledged() -> int:
        cursor = store.load("main", LOG)
        return 0 if cursor is None else cursor.seq

    eventually(lambda: acknowledged() == 20, "what was answered rightly is passed")
    built.append(10)
    eventually(lambda: asked >= 3, "it is tried again and again")
    assert acknowledged() == 20
    assert {log.quarantined for log in service.service.stats().logs} == {0}
    mended = True
    eventually(lambda: acknowledged() == 30, "then everything arrives")
    service.stop()
    sink.close()
