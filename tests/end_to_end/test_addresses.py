"""Shipping to a real Elasticsearch: compressed, and past an address that does not answer."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.elasticsearch import Cluster
from tests.support.fault_proxy import FaultProxy
from tests.support.logs import write_log
from tests.support.waiting import eventually


@pytest.fixture
def dead_url() -> Iterator[str]:
    """Reserve a port on which no process listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def command(
    place: Path, prefix: str, urls: list[str], *arguments: str, more: str = ""
) -> list[str]:
    config = place / "config.toml"
    config.write_text(
        f"""
        directories = ["{place}/audit"]
        state_dir = "{place}/state"
        metrics = ""
        [sinks.main]
        kind = "elasticsearch"
        urls = {urls!r}
        index_prefix = "{prefix}"
        replicas = 0
        {more}
        """
    )
    return [sys.executable, "-m", "auditctl", *arguments, f"--config={config}"]


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_a_compressed_body_is_smaller_and_indexed_alike(
    elasticsearch: Cluster, index_prefix: str, tmp_path: Path, compression: str
) -> None:
    log = write_log(tmp_path / "audit", records=500)
    size = sum(path.stat().st_size for path in log.paths)
    port = int(elasticsearch.url.rpartition(":")[2])
    with FaultProxy(port, seed=1) as proxy:
        more = f'compression = "{compression}"'
        ship = command(tmp_path, index_prefix, [proxy.url], "ship", "--once", more=more)
        subprocess.run(ship, check=True, timeout=90)
        assert proxy.encodings == {compression.replace("none", ""): proxy.bulks}
        assert proxy.bulks > 0
        assert (proxy.bulk_bytes < size / 2) == (compression == "gzip")
    stored = elasticsearch.documents(f"{index_prefix}-*")
    assert {hit["_source"]["hash"] for hit in stored.values()} == {h.hash for h in log.headers}


def test_with_one_of_two_addresses_dead_everything_is_shipped(
    elasticsearch: Cluster, index_prefix: str, tmp_path: Path, dead_url: str
) -> None:
    log = write_log(tmp_path / "audit", records=300)
    urls = [dead_url, elasticsearch.url]
    agent = subprocess.Popen(command(tmp_path, index_prefix, urls, "agent", "--only", "ship"))
    try:
        for more in (0, 50, 50):
            log.append(more)
            total = len(log.headers)
            eventually(lambda n=total: elasticsearch.count(f"{index_prefix}-*") == n, "all", 90)
    finally:
        agent.terminate()
        assert agent.wait(60) == 0
    stored = elasticsearch.documents(f"{index_prefix}-*")
    assert {hit["_version"] for hit in stored.values() if "_version" in hit} <= {1}
    assert {hit["_source"]["hash"] for hit in stored.values()} == {h.hash for h in log.headers}


def test_an_address_that_dies_on_the_way_stops_nothing(
    elasticsearch: Cluster, index_prefix: str, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "audit", records=100)
    port = int(elasticsearch.url.rpartition(":")[2])
    with FaultProxy(port, seed=1) as proxy:
        urls = [proxy.url, elasticsearch.url]
        agent = subprocess.Popen(command(tmp_path, index_prefix, urls, "agent", "--only", "ship"))
        eventually(lambda: elasticsearch.count(f"{index_prefix}-*") == 100, "all", 90)
    try:  # the proxy is gone by now
        for total in (150, 200):
            log.append(50)
            eventually(lambda n=total: elasticsearch.count(f"{index_prefix}-*") == n, "all", 90)
    finally:
        agent.terminate()
        assert agent.wait(60) == 0
    stored = elasticsearch.documents(f"{index_prefix}-*")
    assert {hit["_source"]["hash"] for hit in stored.values()} == {h.hash for h in log.headers}
