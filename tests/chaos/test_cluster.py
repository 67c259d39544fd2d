"""Three nodes, one replica: nodes are killed one after the other while services write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import auditlog
from auditctl.demo.stage import Agent, Auditctl
from tests.support.elasticsearch import Cluster, ElasticsearchServer, request
from tests.support.load import Services, account, fetch_hashes
from tests.support.waiting import eventually

EVENTS = int(os.environ.get("AUDITLOG_TEST_CLUSTER_EVENTS", "40000"))
LOGS = ("queen-rbee@hive1", "rbee-hive@gpu-1")
PREFIX = "llama-orch-audit"
WAVE_SECONDS = 12
PATIENCE_SECONDS = 240

pytestmark = pytest.mark.timeout(PATIENCE_SECONDS * 4)


@pytest.fixture
def nodes(elasticsearch: Cluster) -> Iterator[list[ElasticsearchServer]]:
    """Of the version that the fixture has found to be there."""
    with ExitStack() as stack:
        started = []
        for _ in range(3):
            node = ElasticsearchServer.prepare(Path(__file__).parents[2])
            stack.callback(node.discard)
            started.append(node)
        ElasticsearchServer.join(started)
        for node in started:
            node.launch()
        for node in started:
            node.wait_until_up()
        yield started


def counted(cluster: Cluster, pattern: str) -> int:
    """None while the cluster has no answer, as it may have none while it elects."""
    try:
        return cluster.count(pattern)
    except OSError:
        return 0


def green(node: ElasticsearchServer, size: int) -> None:
    """Wait until so many nodes are there and every shard has its replica."""
    path = f"/_cluster/health?wait_for_status=green&wait_for_nodes={size}&timeout=5s"

    def is_green() -> bool:
        try:
            return request(node.url, "GET", path)[0] == 200
        except OSError:
            return False

    eventually(is_green, "green", PATIENCE_SECONDS)


def test_nothing_is_lost_or_doubled_when_one_node_and_later_another_is_killed(
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
        replicas = 1
        request_timeout = "10s"
        """
    )
    agent = Agent(
        Auditctl(f"--config={config}").command("agent", "--only", "ship"), tmp_path / "agent.log"
    )
    cluster = Cluster(nodes[2].url, nodes[2])
    pattern = f"{PREFIX}-*"
    each = EVENTS // 2
    # A wave for each node that is killed: the second begins when the first node is back.
    waves = [Services(audit, (log,), each, rate=each / WAVE_SECONDS) for log in LOGS]

    def arrived(count: float) -> None:
        """Wait until so many records are in the index, as the third node sees it."""
        eventually(
            lambda: counted(cluster, pattern) >= count, f"{count:.0f} records", PATIENCE_SECONDS
        )

    try:
        agent.start()
        for number, services in enumerate(waves):
            services.start()
            arrived(number * each + 0.3 * each)
            nodes[number].kill()
            services.join(PATIENCE_SECONDS)
            arrived((number + 1) * each)
            if number == 0:
                nodes[0].start()
                green(nodes[2], 3)
        accounted = account(audit)
        arrived(len(accounted.keys))
        assert agent.stop() < 5
    finally:
        for services in waves:
            services.close()
        agent.close()
    indexed = fetch_hashes(cluster, pattern)
    assert indexed.keys() == accounted.keys
    assert {key: stored.hash for key, stored in indexed.items()} == accounted.in_files
    for services in waves:
        assert services.acknowledged.items() <= accounted.in_files.items()
    assert not (tmp_path / "state/quarantine/main.ndjson").exists()
    assert auditlog.verify(audit).ok
