from __future__ import annotations

import datetime as dt
import re
import socket
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from auditctl.config import Config
from auditctl.config_values import Address
from auditctl.errors import CommandFailed
from auditctl.metrics import MetricsServer
from retention.schedule import Status
from shippers.stats import LogStats, SinkStats, Stats

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY_PORT = Address("127.0.0.1", 0)
NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def log_stats(sink: str, log: str, scale: int) -> LogStats:
    return LogStats(
        sink=sink,
        log=log,
        written=10 * scale,
        indexed=5 * scale,
        duplicate=2 * scale,
        quarantined=scale,
        pending=2 * scale,
        retries=7 * scale,
        unverified=0,
        chain_breaks=scale,
        acknowledged_seq=8 * scale,
        lag_records=3 * scale,
        lag_bytes=300 * scale,
        trouble="",
    )


class Agent:
    """A source with two sinks, two logs and a retention that ran."""

    def __init__(self) -> None:
        self.is_ready = True
        self.ships = self.retains = True

    def shipping(self) -> Stats | None:
        sinks = (
            SinkStats("main", "https://es.example", 1, 4096, ""),
            SinkStats("copy", "/var/lib/copy.sqlite", 0, 0, "cannot connect"),
        )
        logs = ("queen-rbee@hive1", "rbee-hive@gpu1")
        stats = tuple(
            log_stats(sink.name, log, scale) for sink in sinks for scale, log in enumerate(logs, 1)
        )
        return Stats(stats, sinks, watcher_rebuilds=1) if self.ships else None

    def retention(self) -> Status | None:
        if not self.retains:
            return None
        kept = {"active": 2, "not_shipped": 1}
        return Status(NOON, NOON + dt.timedelta(days=1), runs=3, failures=1, kept=kept, deleted=4)

    def ready(self) -> bool:
        return self.is_ready


@contextmanager
def serving(agent: Agent) -> Iterator[str]:
    server = MetricsServer(ANY_PORT, agent)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.close()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_balance() -> None:
    with serving(Agent()) as url:
        found = samples(get(f"{url}/metrics"))
    for sink in ("main", "copy"):
        final = [
            found["auditlog_shipper_records_total", outcome, sink]
            for outcome in ("indexed", "duplicate", "quarantined")
        ]
        pending = found["auditlog_shipper_pending_records", sink]
        assert found["auditlog_shipper_read_records_total", sink] == sum(final) + pending == 30
    assert found["auditlog_shipper_logs",] == 2
    assert found["auditlog_shipper_sink_troubled", "copy"] == 1
    assert found["auditlog_retention_kept_segments", "not_shipped"] == 1
    assert found["auditlog_retention_last_success_timestamp_seconds",] == NOON.timestamp()


def test_names() -> None:
    units = "total|records|bytes|seconds|segments|requests"
    states = "shipper_logs|shipper_sink_troubled|retention_refused|retention_running"
    name = re.compile(rf"auditlog_(?:(?:shipper|retention)_[a-z_]+_(?:{units})|{states})")
    with serving(Agent()) as url:
        text = get(f"{url}/metrics")
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            assert name.fullmatch(sample.name), sample.name
            assert sample.labels.keys() <= {"sink", "outcome", "reason"}
            assert not any("/" in value or "@" in value for value in sample.labels.values())


def test_loopback() -> None:
    assert Config().metrics == Address("127.0.0.1", 9464)


def test_only_what_runs_is_served() -> None:
    agent = Agent()
    agent.ships = agent.retains = False
    with serving(agent) as url:
        assert get(f"{url}/metrics") == ""


def test_health_and_readiness() -> None:
    agent = Agent()
    with serving(agent) as url:
        assert get(f"{url}/healthz") == "ok\n"
        assert get(f"{url}/readyz?verbose=1") == "ready\n"
        agent.is_ready = False
        assert get(f"{url}/healthz") == "ok\n"
        for path, status in (("readyz", 503), ("", 404)):
            with pytest.raises(urllib.error.HTTPError) as raised:
                get(f"{url}/{path}")
            assert raised.value.code == status
            raised.value.close()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(CommandFailed, match="metrics") as raised:
            MetricsServer(address, Agent())
    assert str(address) in str(raised.value)
