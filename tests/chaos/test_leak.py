"""Minutes of load, and the agent's memory stays flat.

Everything that could pile up happens on the way: rotation, compression and deletion of segments,
new logs, reloads, scrapes, a sink that is down now and then.  AUDITLOG_TEST_LEAK_SECONDS=600 makes
it longer; ``make leak`` does.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditctl.demo.stage import Auditctl
from tests.support.elasticsearch import Cluster
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.load import Services
from tests.support.ports import own_port
from tests.support.waiting import eventually

SECONDS = float(os.environ.get("AUDITLOG_TEST_LEAK_SECONDS", "24"))
MOST_GROWTH_BYTES = 8 << 20
MOST_RESIDENT_BYTES = 200 << 20
RATE = 600
TURNS = 48
"""At least so many, however long one takes: reloads, runs of retention, outages in each quarter."""
MOST_TURNS = 4 * TURNS
"""On a busy machine all that is made once comes later; a leak never ends."""

pytestmark = pytest.mark.timeout(SECONDS * 3 + 900)


@pytest.fixture
def proxy(elasticsearch: Cluster) -> Iterator[FaultProxy]:
    with FaultProxy(int(elasticsearch.url.rpartition(":")[2]), seed=1) as proxy:
        yield proxy


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("the process has no memory")


@pytest.fixture
def metrics() -> Iterator[str]:
    with own_port() as port:
        yield f"127.0.0.1:{port}"


def growth_of(samples: list[int]) -> float:
    """By how much the last quarter is above the one before.

    The first half is for what is made once: code, pools, the allocator's arenas of each thread.
    """
    quarter = len(samples) // 4
    third, last = samples[2 * quarter : 3 * quarter], samples[3 * quarter :]
    return statistics.median(last) - statistics.median(third)


def is_enough(samples: list[int], seconds: float) -> bool:
    if len(samples) < TURNS or seconds < SECONDS:
        return False
    return growth_of(samples) < MOST_GROWTH_BYTES or len(samples) >= MOST_TURNS


def test_memory_is_flat_under_load(
    tmp_path: Path, proxy: FaultProxy, index_prefix: str, metrics: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f"""
        host = "hive1"
        directories = ["{tmp_path}/audit"]
        state_dir = "{tmp_path}/state"
        metrics = "{metrics}"
        [sinks.main]
        kind = "elasticsearch"
        urls = ["{proxy.url}"]
        index_prefix = "{index_prefix}"
        [sinks.copy]
        kind = "sqlite"
        path = "{tmp_path}/copy.sqlite"
        [retention]
        compress_after = "1s"
        delete_after = "4s"
        max_delete_fraction = 1.0
        """
    )
    program = Auditctl(f"--config={config}")
    logs = ("queen-rbee@hive1", "rbee-hive@gpu-1")
    # More than can be written meanwhile: they are ended by close.
    services = Services(
        tmp_path / "audit", logs, int(RATE * SECONDS * 50), rate=RATE, segment_bytes=100_000
    )
    with (tmp_path / "agent.log").open("wb") as output:
        agent = subprocess.Popen(program.command("agent"), stderr=output)
    samples: list[int] = []
    try:
        services.start()
        said = tmp_path / "agent.log"
        eventually(lambda: "started" in said.read_text(), "the agent at work", 120)
        began = time.monotonic()
        while not is_enough(samples, time.monotonic() - began):
            turn = len(samples) + 1
            proxy.outage = Fault.UNAVAILABLE if turn % 10 == 0 else None
            if turn % 6 == 0:
                agent.send_signal(signal.SIGHUP)
            if turn % 4 == 0:
                subprocess.run(
                    program.command("prune", "--confirm"), capture_output=True, check=False
                )
            with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=30) as answer:
                assert b"auditlog_shipper_lag_seconds" in answer.read()
            samples.append(resident_bytes(agent.pid))
            time.sleep(0.5)
        eventually(lambda: said.read_text().count("reloaded: ") >= 2, "reloads")
        assert services.running()
        assert not services.failed()
        assert agent.poll() is None
    finally:
        services.close()
        agent.kill()
        agent.wait()
    growth = growth_of(samples)
    most = max(samples)
    print(f"grew by {growth / 1e6:.1f} MB, at most {most / 1e6:.0f} MB", file=sys.stderr)
    assert growth < MOST_GROWTH_BYTES, samples
    assert most < MOST_RESIDENT_BYTES
