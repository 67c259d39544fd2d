"""Every fault there is while four services write: the index holds what was written, once.

AUDITLOG_TEST_CHAOS_EVENTS=1000000 makes it larger; ``make chaos`` does.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

import auditlog
from auditctl.demo.stage import AgentProcess, Auditctl
from tests.support.elasticsearch import Cluster, ElasticsearchServer, request
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.load import Services, account, fetch_hashes
from tests.support.unmeasured import unmeasured
from tests.support.waiting import eventually

EVENTS = int(os.environ.get("AUDITLOG_TEST_CHAOS_EVENTS", "200000"))
LOGS = ("queen-rbee@hive1", "rbee-hive@gpu-1", "rbee-hive@gpu-2", "rbee-hive@gpu-3")
LATE_LOG = "rbee-hive@late"
BAD = 5
SHIPPER_KILLS = 20
SERVER_KILLS = (4, 10, 16)  # before these of the shipper's
UNAUTHORIZED, BLOCKED = (7, 13)  # likewise
# A full batch is halved once.  Cut into more parts, hardly one would come to its end between two
# kills, and nearly everything would be shipped when the faults are over.
MAX_BODY_BYTES = 1_000_000
LASTS_SECONDS = 60 * EVENTS / 200_000
PATIENCE_SECONDS = 300 + EVENTS / 1000
# Faults of bulk requests: each of these once in every 24, at a random place.
DECK = [
    Fault.CUT_REQUEST,
    Fault.CUT_RESPONSE,
    Fault.NO_RESPONSE,
    Fault.BUSY,
    Fault.BUSY_ITEMS,
    Fault.UNAVAILABLE,
    *[None] * 18,
]

pytestmark = pytest.mark.timeout(PATIENCE_SECONDS * 3)


@pytest.fixture
def proxy(killable_elasticsearch: ElasticsearchServer) -> Iterator[FaultProxy]:
    port = killable_elasticsearch.port
    with FaultProxy(port, seed=5, deck=DECK, max_body_bytes=MAX_BODY_BYTES) as proxy:
        yield proxy


@pytest.fixture
def program(tmp_path: Path, proxy: FaultProxy, index_prefix: str) -> Auditctl:
    config = tmp_path / "config.toml"
    config.write_text(
        f"""
        host = "hive1"
        directories = ["{tmp_path}/audit"]
        state_dir = "{tmp_path}/state"
        metrics = ""
        [sinks.main]
        kind = "elasticsearch"
        urls = ["{proxy.url}"]
        index_prefix = "{index_prefix}"
        request_timeout = "3s"
        [retention]
        compress_after = "3s"
        delete_after = "20s"
        max_delete_fraction = 1.0
        every = "30d"  # beside what runs here, and not at its time of the day
        """
    )
    return Auditctl(f"--config={config}")


def test_whatever_breaks_the_index_holds_every_record_once(
    tmp_path: Path,
    program: Auditctl,
    proxy: FaultProxy,
    killable_elasticsearch: ElasticsearchServer,
    index_prefix: str,
) -> None:
    elasticsearch = Cluster(killable_elasticsearch.url)
    audit, pattern = tmp_path / "audit", f"{index_prefix}-*"
    each = EVENTS // len(LOGS)
    services = Services(audit, LOGS, each, rate=each / LASTS_SECONDS, bad=BAD)
    late = Services(audit, (LATE_LOG,), 6000, rate=6000)
    agent = AgentProcess(program.command("agent"), tmp_path / "agent.log")
    try:
        services.start()
        agent.start()
        with retention(program, audit) as seen:
            break_everything(services, agent, proxy, killable_elasticsearch, pattern)
            services.join(PATIENCE_SECONDS)
            proxy.deck, proxy.max_body_bytes = (), None
            late.start()  # what is shipped at once is compressed before it is deleted
            late.join(PATIENCE_SECONDS)
            eventually(lambda: seen >= {"compressed", "deleted"}, "retention", PATIENCE_SECONDS)
        accounted = account(audit)
        expected = len(accounted.keys - services.planted)
        eventually(
            lambda: elasticsearch.count(pattern) >= expected,
            f"{expected} records in the index",
            PATIENCE_SECONDS,
        )
        agent.stop()
    finally:
        services.close()
        late.close()
        agent.close()

    # Every fault has happened, so what follows says something about each.
    assert agent.kills == SHIPPER_KILLS
    missed = [fault.name for fault in Fault if not proxy.seen[fault]]
    assert not missed, proxy.seen

    # The set in the files and in the tombstones is the set in the index.
    indexed = fetch_hashes(elasticsearch, pattern)
    assert accounted.keys - services.planted == indexed.keys()
    for key, digest in (services.acknowledged | late.acknowledged).items():
        assert key in services.planted or indexed[key].hash == digest
    for key, digest in accounted.in_files.items():
        assert key in services.planted or indexed[key].hash == digest
    # Records deleted here are chained in the index: each names the hash of the one before it.
    for (log, seq), stored in indexed.items():
        if (before := indexed.get((log, seq - 1))) is not None:
            assert stored.prev_hash == before.hash
    assert auditlog.verify(audit).ok

    lines = (tmp_path / "state/quarantine/main.ndjson").read_bytes().splitlines()
    entries = [orjson.loads(line) for line in lines]
    assert {entry["kind"] for entry in entries} == {"refused"}
    assert sorted((entry["log"], entry["seq"]) for entry in entries) == sorted(services.planted)


def break_everything(
    services: Services,
    agent: AgentProcess,
    proxy: FaultProxy,
    server: ElasticsearchServer,
    pattern: str,
) -> None:
    rng = random.Random(11)
    for number in range(SHIPPER_KILLS):
        if number in SERVER_KILLS:
            server.kill()
            server.start()
        if number == UNAUTHORIZED:
            proxy.outage = Fault.UNAUTHORIZED
            eventually(lambda: proxy.seen[Fault.UNAUTHORIZED] > 2, "401", PATIENCE_SECONDS)
            proxy.outage = None
        if number == BLOCKED:
            settings = f"/{pattern}/_settings"
            block = "index.blocks.read_only_allow_delete"  # as a disk that is full sets it
            request(server.url, "PUT", settings, {block: True})
            some_bulks(agent, proxy, 5)
            request(server.url, "PUT", settings, {block: None})
        assert not services.failed()
        some_bulks(agent, proxy, rng.randint(2, 20))
        agent.kill_and_restart()


def some_bulks(agent: AgentProcess, proxy: FaultProxy, count: int) -> None:
    """Return when so many more bulk requests have come to the proxy."""
    wanted = proxy.bulks + count

    def came() -> bool:
        assert agent.running()
        return proxy.bulks >= wanted

    eventually(came, f"{count} bulk requests", PATIENCE_SECONDS)


@contextmanager
def retention(program: Auditctl, audit: Path) -> Iterator[set[str]]:
    """Run `auditctl prune` again and again, killing every third; gives what it was seen to do."""
    seen: set[str] = set()
    stop = threading.Event()
    rng = random.Random(3)

    def run() -> None:
        number = 0
        while not stop.wait(1.0):
            number += 1
            process = subprocess.Popen(
                program.command("prune", "--confirm"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=unmeasured(),
            )
            with process:
                if number % 3 == 0:
                    time.sleep(0.5 + rng.random())
                    process.kill()
            if list(audit.glob("*.zst")):
                seen.add("compressed")
            for log in (*LOGS, LATE_LOG):
                names = [path.name for path in audit.glob(f"{log}.*")]
                if names and not any(".0001." in name for name in names):
                    seen.add("deleted")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
