"""A real Elasticsearch, and a log whose records are to go into it."""

from __future__ import annotations

import http.client
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import auditlog
from auditlog.format.index_names import IndexNames
from auditlog.format.record import parse_header
from benchmarks.workload import chosen, write_log
from shippers.item import Shipment
from shippers.sinks.elasticsearch.bulk import bulk_body
from shippers.sinks.elasticsearch.index_template import index_template
from tests.support.elasticsearch import Cluster, ElasticsearchServer, request

__all__ = ["BATCH", "backlog", "indexed", "server"]

BATCH: Final = 2_000
"""Documents in a bulk, of all that are compared."""

_ROOT: Final = Path(__file__).parent.parent


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server with 1 GiB of heap, or AUDITLOG_TEST_ELASTICSEARCH_URL."""
    if url := os.environ.get("AUDITLOG_TEST_ELASTICSEARCH_URL", ""):
        yield url
        return
    started = ElasticsearchServer.prepare(_ROOT, tuned=True)
    started.start()
    try:
        yield started.url
    finally:
        started.discard()


@contextmanager
def backlog(records: int) -> Iterator[Mapping[str, str]]:
    """The server and one log of so many records to ship to it, as cases get to know of them.

    The records are those of the workload that was asked for.
    """
    with server() as url, tempfile.TemporaryDirectory() as directory:
        write_log(Path(directory), records, host="h", workload=chosen())
        _warm(url, directory)
        yield {"BENCHMARK_LOG": directory, "BENCHMARK_URL": url}


def _warm(url: str, directory: str) -> None:
    """Put everything in once, and forget it.

    A server that has just started takes a third of what it takes later, when it has compiled its
    code; whoever came first would pay for all.
    """
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    request(url, "PUT", f"/_index_template/{prefix}", index_template(prefix, replicas=0))
    shipments = [
        Shipment(record.line, parse_header(record.line))
        for record in auditlog.read(directory, log_events=True)
    ]
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    for start in range(0, len(shipments), BATCH):
        body = bulk_body(shipments[start : start + BATCH], IndexNames(prefix))
        connection.request("POST", "/_bulk", body, {"Content-Type": "application/x-ndjson"})
        connection.getresponse().read()
    connection.close()
    Cluster(url).forget(prefix)


def indexed(url: str, pattern: str) -> int:
    """How many documents the server has taken into these indices, searchable or not yet."""
    path = f"/{pattern}/_stats/indexing?filter_path=_all.primaries.indexing.index_total"
    status, answer = request(url, "GET", path)
    if status == 404 or not answer:
        return 0
    return int(answer["_all"]["primaries"]["indexing"]["index_total"])
