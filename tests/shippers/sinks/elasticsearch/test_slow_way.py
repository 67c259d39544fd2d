"""Bulk requests over a way on which large ones are cut off: they become smaller, and grow again."""

from __future__ import annotations

import datetime as dt
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import auditlog
from shippers.backoff import Backoff
from shippers.delivery import DeliveryOptions
from shippers.outcome import INDEXED
from shippers.service import ShippingOptions, ShippingService
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from tests.support.shipments import shipments
from tests.support.waiting import eventually

_RESET = struct.pack("ii", 1, 0)  # a lingering of no time
_CHUNK_BYTES = 4096


class SlowWay(ThreadingHTTPServer):
    """A cluster that stores what arrives, and a way to it that is no good for large requests.

    ``limit``: the connection of a larger body is dropped after it, or reset amid it with ``reset``.
    ``bytes_per_second``: how fast bodies arrive.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        # Small, so that a slow reader is noticed by who sends.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * _CHUNK_BYTES)
        self.server_bind()
        self.server_activate()
        self.limit: int | None = None
        self.reset = False
        self.bytes_per_second: int | None = None
        self.sizes: list[int] = []
        self.stored: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SlowWay

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        if "_mget" in self.path:
            asked = [each["_id"] for each in json.loads(self.rfile.read(size))["docs"]]
            self._answer({"docs": [self._document(each) for each in asked]})
            return
        if "_search" in self.path:  # for another host of this name
            self.rfile.read(size)
            self._answer({"hits": {"hits": []}})
            return
        self.server.sizes.append(size)
        too_large = self.server.limit is not None and size > self.server.limit
        body = self._read(size // 2 if too_large and self.server.reset else size)
        if too_large:
            if self.server.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close_connection = True
            return
        lines = body.splitlines()
        actions = (json.loads(line)["create"]["_id"] for line in lines[::2])
        hashes = (json.loads(line)["hash"] for line in lines[1::2])
        self._answer({"items": [self._create(*each) for each in zip(actions, hashes, strict=True)]})

    def _read(self, size: int) -> bytes:
        body = b""
        while len(body) < size:
            chunk = self.rfile.read(min(_CHUNK_BYTES, size - len(body)))
            if not chunk:
                raise ConnectionAbortedError
            body += chunk
            if (rate := self.server.bytes_per_second) is not None:
                time.sleep(len(chunk) / rate)
        return body

    def _create(self, number: str, digest: str) -> dict[str, Any]:
        known = self.server.stored.setdefault(number, digest)
        if known is digest:
            return {"create": {"_id": number, "status": 201}}
        error = {"type": "version_conflict_engine_exception", "reason": "it is there"}
        return {"create": {"_id": number, "status": 409, "error": error}}

    def _document(self, number: str) -> dict[str, Any]:
        return {"_id": number, "found": True, "_source": {"hash": self.server.stored[number]}}

    def _answer(self, content: object) -> None:
        made = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(made)))
        self.end_headers()
        self.wfile.write(made)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # who sent has given up
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def way() -> Iterator[SlowWay]:
    with SlowWay() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def make(url: str, **options: Any) -> ElasticsearchSink:
    return ElasticsearchSink(
        "main", ElasticsearchOptions(urls=(url,), manage_template=False, **options)
    )


def test_a_bulk_that_is_cut_off_is_halved_until_it_arrives_and_grows_again(way: SlowWay) -> None:
    records = shipments(400)
    way.limit = 40_000
    sink = make(way.url)
    attempts = 0
    left: list[Any] = list(records)
    while left:
        attempts += 1
        outcomes = sink.deliver(left)
        left = [r for r, outcome in zip(left, outcomes, strict=True) if not outcome.final]
        assert attempts < 10, "it is sent again uncut"
    assert max(way.sizes) == way.sizes[0] > 4 * 40_000
    assert way.sizes[-1] <= 40_000
    way.limit = None
    whole = len(way.sizes)
    for _ in range(60):
        way.stored.clear()
        assert sink.deliver(records) == [INDEXED] * len(records)
    assert way.sizes[-1] == way.sizes[0], "at last it goes in one again"
    assert len(way.sizes) - whole > 70, "but not at once"
    sink.close()


BATCH_BYTES = 192 << 10
PAD = "x" * 4000


def make_slow(way: SlowWay) -> None:
    way.bytes_per_second = 64 << 10


def make_cutting(way: SlowWay) -> None:
    way.limit, way.reset = 64 << 10, True


def make_quick(way: SlowWay) -> None:
    way.bytes_per_second = way.limit = None


@pytest.mark.timeout(1200)  # three waits
@pytest.mark.parametrize("spoil", [make_slow, make_cutting])
def test_a_backlog_arrives_over_a_bad_way_and_in_large_bodies_again_over_a_good_one(
    way: SlowWay,
    running: Callable[[ShippingService], Any],
    tmp_path: Path,
    spoil: Callable[[SlowWay], None],
) -> None:
    spoil(way)
    log = auditlog.open(tmp_path / "audit", service="queen-rbee", host="hive1")

    def emit(count: int) -> int:
        return max(log.emit("pool.drained", details={"pad": PAD}).seq for _ in range(count))

    last = emit(100)
    # A whole body takes three seconds when it is slow; the sink does not take it for that long.
    sink = make(
        way.url, max_body_bytes=256 << 10, request_timeout=dt.timedelta(seconds=2), max_in_flight=1
    )
    delivery = DeliveryOptions(
        batch_bytes=BATCH_BYTES,
        slow_batch=dt.timedelta(hours=1),  # a busy machine is slow as well
        backoff=Backoff(dt.timedelta(milliseconds=10), dt.timedelta(milliseconds=100)),
    )
    service = ShippingService(
        [tmp_path / "audit"], [sink], tmp_path / "state", ShippingOptions(delivery=delivery)
    )
    live = running(service)
    eventually(lambda: len(way.stored) == last, "all arrives over the bad way", 300)
    whole = way.sizes[0]
    assert whole > 2 * (64 << 10)
    assert way.sizes[-1] <= whole // 2
    make_quick(way)
    small = len(way.sizes)

    def grown() -> bool:
        nonlocal last
        last = emit(50)
        return max(way.sizes[small:], default=0) >= whole * 0.9

    eventually(grown, "bodies become as large as at first", 300)
    large = next(n for n, size in enumerate(way.sizes[small:]) if size >= whole * 0.9)
    assert large >= 8, "they grow slowly"
    eventually(lambda: len(way.stored) == last, "all arrives", 300)
    live.stop()
    sink.close()
    records = auditlog.read(tmp_path / "audit", log_events=True)
    assert way.stored == {f"{record.log}:{record.seq}": record.hash for record in records}
    log.close()
