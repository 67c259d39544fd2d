"""A real Elasticsearch, and a log whose records are to go into it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import auditlog
from benchmarks.workload import events
from tests.support.elasticsearch import ElasticsearchServer, request

__all__ = ["backlog", "indexed", "server"]

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
    """The server and one log of so many records to ship to it, as cases get to know of them."""
    with server() as url, tempfile.TemporaryDirectory() as directory:
        with auditlog.open(directory, service="queen-rbee", host="h", flush="batched") as log:
            for event in events(records):
                log.emit(event)
        yield {"BENCHMARK_LOG": directory, "BENCHMARK_URL": url}


def indexed(url: str, pattern: str) -> int:
    """How many documents the server has taken into these indices, searchable or not yet."""
    path = f"/{pattern}/_stats/indexing?filter_path=_all.primaries.indexing.index_total"
    status, answer = request(url, "GET", path)
    if status == 404 or not answer:
        return 0
    return int(answer["_all"]["primaries"]["indexing"]["index_total"])
