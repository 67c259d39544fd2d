from __future__ import annotations

import socket
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from auditctl.agent.metrics import metric_families
from auditctl.agent.metrics_server import MetricsServer
from auditctl.config.model import Config, SocketAddress
from auditctl.errors import CommandFailed
from tests.support.snapshots import (
    ABOUT,
    ARCHIVE,
    EVIDENCE,
    NOON,
    RETENTION,
    SHIPPING,
    VERIFICATION,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditctl.agent.evidence import EvidenceStatus
    from auditctl.agent.metrics import About
    from auditlog.verification.continuous import VerificationStatus
    from retention.schedule import Status
    from shippers.archive.status import ArchiveStatus
    from shippers.stats import ShippingStats

ANY_PORT = SocketAddress("127.0.0.1", 0)


class Agent:
    """A source that tells what it is told to."""

    def __init__(self) -> None:
        self.stuck_loop = ""
        self.reasons: tuple[str, ...] = ()
        self.ships = self.retains = True

    def about(self) -> About:
        return ABOUT

    def shipping(self) -> ShippingStats | None:
        return SHIPPING if self.ships else None

    def verification(self) -> VerificationStatus | None:
        return VERIFICATION

    def evidence(self) -> EvidenceStatus | None:
        return EVIDENCE

    def archive(self) -> ArchiveStatus:
        return ARCHIVE

    def retention(self) -> Status | None:
        return RETENTION if self.retains else None

    def stuck(self) -> str:
        return self.stuck_loop

    def unready(self) -> tuple[str, ...]:
        return self.reasons


@contextmanager
def serving(agent: Agent) -> Iterator[str]:
    server = MetricsServer(ANY_PORT, agent)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.close()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        text: str = answer.read().decode()
        return text


def failure(url: str) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as raised:
        get(url)
    with raised.value as error:
        return error.code, error.read().decode()


def test_what_is_served_is_what_the_families_say() -> None:
    with serving(Agent()) as url:
        text = get(f"{url}/metrics")
    served = {family.name: family for family in text_string_to_metric_families(text)}
    expected = list(
        metric_families(
            ABOUT, SHIPPING, RETENTION, VERIFICATION, NOON, evidence=EVIDENCE, archive=ARCHIVE
        )
    )
    for family in expected:
        found = served.pop(family.name)
        assert (found.type, found.documentation) == (family.kind, family.text)
        assert {
            tuple(sample.labels[label] for label in family.labels) for sample in found.samples
        } == {labels for labels, _ in family.samples}
    assert all(name.startswith("auditlog_agent_process_") for name in served)
    assert served["auditlog_agent_process_resident_memory_bytes"].samples[0].value > 1 << 20


def test_loopback() -> None:
    assert Config().metrics == SocketAddress("127.0.0.1", 9464)


def test_only_what_runs_is_served() -> None:
    agent = Agent()
    agent.ships = agent.retains = False
    with serving(agent) as url:
        text = get(f"{url}/metrics")
    assert "auditlog_build_info" in text
    assert "auditlog_shipper" not in text
    assert "auditlog_retention" not in text


def test_stuck() -> None:
    agent = Agent()
    with serving(agent) as url:
        assert get(f"{url}/healthz") == "ok\n"
        assert get(f"{url}/readyz?verbose=1") == "ready\n"
        agent.reasons = ("sink main: cannot connect", "sink copy: no answer")
        assert get(f"{url}/healthz") == "ok\n"
        assert failure(f"{url}/readyz") == (
            503,
            "sink main: cannot connect\nsink copy: no answer\n",
        )
        agent.stuck_loop = "delivery to main"
        assert failure(f"{url}/healthz") == (503, "delivery to main is stuck\n")
        assert failure(f"{url}/")[0] == 404


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = SocketAddress("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(CommandFailed, match="metrics") as raised:
            MetricsServer(address, Agent())
    assert str(address) in str(raised.value)
