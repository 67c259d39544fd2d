"""Ship a backlog into a real Elasticsearch: our shipper against posting ready-made bodies."""

from __future__ import annotations

import http.client
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

import orjson
from elasticsearch import Elasticsearch, helpers

import auditlog
from auditlog.format.index_names import IndexNames
from auditlog.format.record import parse_header
from benchmarks.backlog import BATCH, backlog
from benchmarks.harness import Case, Ratio
from shippers.item import Shipment
from shippers.service import ShippingService
from shippers.sinks.elasticsearch.bulk import bulk_body
from shippers.sinks.elasticsearch.index_template import index_template
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from tests.support.elasticsearch import Cluster, request

TITLE = "Shipper: a backlog into Elasticsearch 9.5.0 on the same machine"
UNIT = "records/s"
RECORDS = 150_000


def setting() -> AbstractContextManager[Mapping[str, str]]:
    """A server and one log to ship."""
    return backlog(RECORDS)


def _measured(work: Callable[[Cluster, str, list[Shipment]], float]) -> float:
    """Run with a fresh prefix and the same index template for everyone; then count documents."""
    cluster = Cluster(os.environ["BENCHMARK_URL"])
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    request(cluster.url, "PUT", f"/_index_template/{prefix}", index_template(prefix, replicas=0))
    shipments = [
        Shipment(record.line, parse_header(record.line))
        for record in auditlog.read(os.environ["BENCHMARK_LOG"], log_events=True)
    ]
    try:
        seconds = work(cluster, prefix, shipments)
        if cluster.count(f"{prefix}-*") != len(shipments):
            raise RuntimeError("not every record is in the index")
        return len(shipments) / seconds
    finally:
        cluster.forget(prefix)


def _preserialised(cluster: Cluster, prefix: str, shipments: list[Shipment]) -> float:
    """Two connections post bodies that are ready in memory; answers are read, not judged."""
    names = IndexNames(prefix)
    return _post(cluster, lambda batch: bulk_body(batch, names), shipments)


def _without_ids(cluster: Cluster, prefix: str, shipments: list[Shipment]) -> float:
    """The same, with ids that the server makes up: nothing is looked up, and no repeat is found."""
    action = b'{"index":{"_index":"%s-alike"}}\n' % prefix.encode()

    def plain_body(batch: list[Shipment]) -> bytes:
        return b"".join(action + shipment.line + b"\n" for shipment in batch)

    return _post(cluster, plain_body, shipments)


def _post(
    cluster: Cluster, body_of: Callable[[list[Shipment]], bytes], shipments: list[Shipment]
) -> float:
    bodies = [
        body_of(shipments[start : start + BATCH]) for start in range(0, len(shipments), BATCH)
    ]
    address = urlsplit(cluster.url).netloc

    def post(part: list[bytes]) -> None:
        connection = http.client.HTTPConnection(address)
        for body in part:
            connection.request("POST", "/_bulk", body, {"Content-Type": "application/x-ndjson"})
            connection.getresponse().read()
        connection.close()

    threads = [threading.Thread(target=post, args=(bodies[half::2],)) for half in (0, 1)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def _agent(cluster: Cluster, prefix: str, shipments: list[Shipment]) -> float:
    sink = ElasticsearchSink("main", ElasticsearchOptions(urls=(cluster.url,), index_prefix=prefix))
    with tempfile.TemporaryDirectory() as state:
        service = ShippingService([os.environ["BENCHMARK_LOG"]], [sink], state)
        began = time.perf_counter()
        summary = service.run_once()
        seconds = time.perf_counter() - began
    sink.close()
    if summary.shipped != len(shipments):
        raise RuntimeError(f"{summary.shipped} of {len(shipments)} records were shipped")
    return seconds


def _parallel_bulk(cluster: Cluster, prefix: str, shipments: list[Shipment]) -> float:
    client = Elasticsearch(cluster.url)

    def actions() -> Iterator[dict[str, Any]]:
        for line, header in shipments:
            if header is None:
                raise RuntimeError("a line is not a record")
            yield {
                "_op_type": "create",
                "_index": f"{prefix}-{header.day.replace('-', '.')}",
                "_id": f"{header.log}:{header.seq}",
                "_source": orjson.loads(line),
            }

    began = time.perf_counter()
    for ok, _ in helpers.parallel_bulk(client, actions(), thread_count=2, chunk_size=BATCH):
        if not ok:
            raise RuntimeError("a record was refused")
    seconds = time.perf_counter() - began
    client.close()
    return seconds


CASES = {
    "posted bodies": Case(
        "2 connections x 2,000 documents, serialised before the clock starts",
        lambda: _measured(_preserialised),
    ),
    "posted bodies, no ids": Case(
        "the same with ids of the server's own: a repeat would be a second document",
        lambda: _measured(_without_ids),
    ),
    "shipper": Case(
        "files to index: read, chain verified, every item judged, cursor durable",
        lambda: _measured(_agent),
    ),
    "parallel_bulk": Case(
        "the client's own helper, 2 threads x 2,000, JSON parsed and serialised",
        lambda: _measured(_parallel_bulk),
    ),
}
RATIOS = (
    Ratio("shipper", "posted bodies", 0.9),
    Ratio("posted bodies", "posted bodies, no ids", None),
    Ratio("shipper", "parallel_bulk", 2),
)
