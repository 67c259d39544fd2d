"""Measure what a plan of a fleet needs: sizes of a record, small bulks, idle connections.

The sizes are those of the whole divided by the number of records; an index is merged to one
segment and has no replica.  One connection posts bulks, one after the other.  8,000 connections
each had one answer before they idle, as those of agents that have nothing to send.
"""

from __future__ import annotations

import http.client
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import auditlog
from auditlog.format.index_names import IndexNames
from auditlog.format.record import parse_header
from benchmarks.backlog import backlog
from benchmarks.harness import Case, Ratio
from retention.compress import encoder
from retention.policy import RetentionPolicy
from shippers.item import Shipment
from shippers.sinks.elasticsearch.bulk import bulk_body
from shippers.sinks.elasticsearch.index_template import index_template
from tests.support.elasticsearch import Cluster, request

TITLE = "Capacity: sizes of a record, small bulks and idle connections, Elasticsearch 9.5.0"
UNIT = "as told"
RECORDS: Final = 150_000
BULKS: Final = (2_000, 250, 25, 5)
CONNECTIONS: Final = 8_000
_POST_SECONDS: Final = 5.0
_IDLE_SECONDS: Final = 10.0
_NDJSON: Final = {"Content-Type": "application/x-ndjson"}


def setting() -> AbstractContextManager[Mapping[str, str]]:
    """A server and one log."""
    return backlog(RECORDS)


def _shipments() -> list[Shipment]:
    return [
        Shipment(record.line, parse_header(record.line))
        for record in auditlog.read(os.environ["BENCHMARK_LOG"], log_events=True)
    ]


def _content() -> bytes:
    [segment] = Path(os.environ["BENCHMARK_LOG"]).glob("*.ndjson")
    return segment.read_bytes()


def _in_file() -> float:
    content = _content()
    return len(content) / content.count(b"\n")


def _compressed() -> float:
    content, compressor = _content(), encoder(RetentionPolicy())
    packed = compressor.compress(content) + compressor.flush()
    return len(packed) / content.count(b"\n")


# Bulks --------------------------------------------------------------------------------------------


@contextmanager
def _index(codec: str = "default") -> Iterator[tuple[Cluster, str]]:
    """A cluster and the prefix of indices that have our template."""
    cluster, prefix = Cluster(os.environ["BENCHMARK_URL"]), f"bench-{uuid.uuid4().hex[:8]}"
    template: dict[str, Any] = index_template(prefix, replicas=0)
    template["template"]["settings"]["index"]["codec"] = codec
    request(cluster.url, "PUT", f"/_index_template/{prefix}", template)
    try:
        yield cluster, prefix
    finally:
        cluster.forget(prefix)


def _bodies(
    shipments: Sequence[Shipment], prefix: str, size: int, *, own_ids: bool
) -> Iterator[tuple[int, bytes]]:
    """Yield the bulks, each with its number of records."""
    names = IndexNames(prefix)
    for start in range(0, len(shipments), size):
        part = shipments[start : start + size]
        if own_ids:
            yield len(part), bulk_body(part, names)
        else:
            action = f'{{"create":{{"_index":"{prefix}-all"}}}}\n'.encode()
            yield len(part), b"".join(action + line for line, _ in part)


def _post(url: str, bodies: Iterator[tuple[int, bytes]], seconds: float) -> float:
    """Post bulks until the time is over or none is left; return records a second."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    posted = 0
    began = time.perf_counter()
    for count, body in bodies:
        connection.request("POST", "/_bulk?filter_path=errors", body, _NDJSON)
        if connection.getresponse().read() != b'{"errors":false}':
            raise RuntimeError("a record was refused")
        posted += count
        if time.perf_counter() - began > seconds:
            break
    taken = time.perf_counter() - began
    connection.close()
    return posted / taken


def _speed(size: int, *, own_ids: bool = True) -> float:
    shipments = _shipments()
    with _index() as (cluster, prefix):
        return _post(cluster.url, _bodies(shipments, prefix, size, own_ids=own_ids), _POST_SECONDS)


def _in_index(codec: str = "default", *, own_ids: bool = True) -> float:
    shipments = _shipments()
    with _index(codec) as (cluster, prefix):
        _post(cluster.url, _bodies(shipments, prefix, 2_000, own_ids=own_ids), float("inf"))
        pattern = f"{prefix}-*"
        cluster.ask("POST", f"/{pattern}/_forcemerge?max_num_segments=1")
        cluster.ask("POST", f"/{pattern}/_flush")
        if (found := cluster.count(pattern)) != len(shipments):
            raise RuntimeError(f"{found} of {len(shipments)} documents are there")
        _, answer = cluster.ask("GET", f"/{pattern}/_stats/store")
        return float(answer["_all"]["primaries"]["store"]["size_in_bytes"]) / found


# Connections --------------------------------------------------------------------------------------


@contextmanager
def _connected(count: int) -> Iterator[None]:
    """Open this number of connections, each idle after its first answer."""
    address = urlsplit(os.environ["BENCHMARK_URL"])
    asked = f"GET /_cat/health HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode("ascii")
    with ExitStack() as stack:
        for _ in range(count):
            made = socket.create_connection((address.hostname, address.port or 80))
            stack.enter_context(made)
            made.sendall(asked)
            if not made.recv(1 << 16).startswith(b"HTTP/1.1 200"):
                raise RuntimeError("a connection got no answer")
        yield


def _process() -> dict[str, Any]:
    """The server's process, as it describes itself."""
    url = os.environ["BENCHMARK_URL"]
    _, named = request(url, "GET", "/_nodes/_local/process")
    _, counted = request(url, "GET", "/_nodes/_local/stats/process,http")
    [node], [stats] = named["nodes"].values(), counted["nodes"].values()
    return {"pid": node["process"]["id"], "open": stats["http"]["current_open"], **stats["process"]}


def _while_idle(count: int, figure: Callable[[], float]) -> float:
    with _connected(count):
        if (there := _process()["open"]) < count:
            raise RuntimeError(f"{there} of {count} connections are open")
        return figure()


def _cpu_percent() -> float:
    before = _process()["cpu"]["total_in_millis"]
    time.sleep(_IDLE_SECONDS)
    return float(_process()["cpu"]["total_in_millis"] - before) / _IDLE_SECONDS / 10


def _resident() -> float:
    status = Path(f"/proc/{_process()['pid']}/status").read_text("ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


def _grown() -> float:
    before = _resident()
    return _while_idle(CONNECTIONS, lambda: _resident() - before)


CASES: Mapping[str, Case] = {
    "file": Case("bytes a record in its file", _in_file),
    "compressed": Case("bytes a record in a segment that retention compressed", _compressed),
    "index": Case("bytes a record in the index", _in_index),
    "index, best_compression": Case(
        "the same with `index.codec: best_compression`", lambda: _in_index("best_compression")
    ),
    "index, other ids": Case(
        "the same with ids that Elasticsearch makes", lambda: _in_index(own_ids=False)
    ),
    **{
        f"bulks of {size:,}": Case(
            "records/s by one connection",
            lambda size=size: _speed(size),  # type: ignore[misc]  # bound now
        )
        for size in BULKS
    },
    "bulks of 2,000, other ids": Case(
        "records/s with ids that Elasticsearch makes", lambda: _speed(2_000, own_ids=False)
    ),
    # First: a server that had as many before has kept their memory, so only one round tells it.
    "memory of connections": Case(
        f"MB by which the server grows with {CONNECTIONS:,} connections", _grown
    ),
    "idle server": Case(
        f"% of a core that the server takes without work, over {_IDLE_SECONDS:.0f} s",
        lambda: _while_idle(0, _cpu_percent),
    ),
    "idle connections": Case(
        f"the same with {CONNECTIONS:,} idle connections",
        lambda: _while_idle(CONNECTIONS, _cpu_percent),
    ),
    "bulks beside connections": Case(
        f"records/s with bulks of 2,000 beside {CONNECTIONS:,} idle connections",
        lambda: _while_idle(CONNECTIONS, lambda: _speed(2_000)),
    ),
}
RATIOS: tuple[Ratio, ...] = (
    *(Ratio(f"bulks of {size:,}", "bulks of 2,000", None) for size in BULKS[1:]),
    Ratio("bulks of 2,000", "bulks of 2,000, other ids", None),
    Ratio("index", "index, other ids", None, at_least=False),
    Ratio("bulks beside connections", "bulks of 2,000", 0.9),
)
