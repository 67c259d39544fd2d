"""Three nodes, one replica: twice, the node that takes the writes is killed meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import auditlog
from auditctl.demo.stage import AgentProcess, Auditctl
from tests.support.elasticsearch import Cluster, ElasticsearchServer, request
from tests.support.load import Services, account, fetch_hashes
from tests.support.waiting import eventually

EVENTS = int(os.environ.get("AUDITLOG_TEST_CLUSTER_EVENTS", "40000"))
LOGS = ("queen-rbee@hive1", "rbee-hive@gpu-1")
PREFIX = "llama-orch-audit"
WAVE_SECONDS = 12
BEFORE = 100
NODES = 3
REPLICAS = 1
PATIENCE_SECONDS = 240

pytestmark = pytest.mark.timeout(PATIENCE_SECONDS * 4)


@pytest.fixture
def nodes(elasticsearch: Cluster) -> Iterator[list[ElasticsearchServer]]:
    """Of the version that the fixture has found to be there."""
    with ExitStack() as stack:
        started = []
        for _ in range(NODES):
            node = ElasticsearchServer.prepare(Path(__file__).parents[2])
            stack.callback(node.discard)
            started.append(node)
        ElasticsearchServer.join(started)
        for node in started:
            node.launch()
        for node in started:
            node.wait_until_up()
        yield started


def answer(node: ElasticsearchServer, path: str) -> tuple[int, Any]:
    """Status and answer; status 0 where there is none, as there may be none during an election."""
    try:
        return request(node.url, "GET", path)
    except OSError:
        return 0, None


def wait_until_green(node: ElasticsearchServer) -> None:
    """Wait until all nodes are there and every shard has its replica."""
    path = f"/_cluster/health?wait_for_status=green&wait_for_nodes={NODES}&timeout=5s"
    eventually(lambda: answer(node, path)[0] == 200, "green", PATIENCE_SECONDS)


def holder_of_the_primary(nodes: list[ElasticsearchServer]) -> ElasticsearchServer:
    """The node that takes the writes of today's index."""
    status, shards = answer(nodes[0], f"/_cat/shards/{PREFIX}-*?format=json&h=index,prirep,node")
    assert status == 200
    primaries = [shard for shard in shards if shard["prirep"] == "p"]
    today = max(primaries, key=lambda shard: str(shard["index"]))  # a day may change on the way
    (node,) = [node for node in nodes if node.name == today["node"]]
    return node


def test_nothing_is_lost_or_doubled_when_a_node_and_later_another_is_killed(
    tmp_path: Path, nodes: list[ElasticsearchServer]
) -> None:
    audit = tmp_path / "audit"
    config = tmp_path / "config.toml"
    config.write_text(
        f"""
        host = "hive1"
        directories = ["{audit}"]
        state_dir = "{tmp_path}/state"
        metrics = ""
        [sinks.main]
        kind = "elasticsearch"
        urls = {json.dumps([node.url for node in nodes])}
        replicas = {REPLICAS}
        request_timeout = "10s"
        """
    )
    agent = AgentProcess(
        Auditctl(f"--config={config}").command("agent", "--only", "ship"), tmp_path / "agent.log"
    )
    pattern = f"{PREFIX}-*"
    each = EVENTS // 2
    # A wave for each node that is killed: the second begins when the first node is back.
    waves = [Services(audit, (log,), each, rate=each / WAVE_SECONDS) for log in LOGS]
    first = Services(audit, LOGS, BEFORE, rate=BEFORE)
    expected = BEFORE * len(LOGS)

    def arrived(count: float, observer: ElasticsearchServer) -> None:
        """Wait until so many records are in the index, as this node sees it."""

        def counted() -> int:
            try:
                return Cluster(observer.url).count(pattern)
            except OSError:
                return 0

        eventually(lambda: counted() >= count, f"{count:.0f} records", PATIENCE_SECONDS)

    try:
        agent.start()
        first.start()
        first.join(PATIENCE_SECONDS)
        arrived(expected, nodes[0])
        for services in waves:
            wait_until_green(nodes[0])
            services.start()
            arrived(expected + 0.3 * each, nodes[0])
            # A shard without its replica is gone with its node, and nothing could be written.
            wait_until_green(nodes[0])
            victim = holder_of_the_primary(nodes)
            observer = next(node for node in nodes if node is not victim)
            victim.kill()
            services.join(PATIENCE_SECONDS)
            expected += each
            arrived(expected, observer)
            victim.start()
        wait_until_green(nodes[0])
        accounted = account(audit)
        arrived(len(accounted.keys), nodes[0])
        agent.stop()
    finally:
        for services in (first, *waves):
            services.close()
        agent.close()
    indexed = fetch_hashes(Cluster(nodes[0].url), pattern)
    assert indexed.keys() == accounted.keys
    assert {key: stored.hash for key, stored in indexed.items()} == accounted.in_files
    for services in (first, *waves):
        assert services.acknowledged.items() <= accounted.in_files.items()
    assert not (tmp_path / "state/quarantine/main.ndjson").exists()
    assert auditlog.verify(audit).ok
