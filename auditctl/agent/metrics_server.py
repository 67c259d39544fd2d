"""Serve metrics, liveness and readiness over HTTP.

    /metrics    auditctl.agent.metrics, and the kernel's figures for the process
    /healthz    200 while every loop makes its rounds; 503 with the name of the one that is stuck
    /readyz     200 while every service runs and every sink accepts; 503 with one reason a line

A sink that is down makes the agent unready and not unhealthy, since a restart would not help.

Invariants (tests of the same name in tests/auditctl/agent/test_metrics_server.py):
  loopback   the default address is reachable from this host alone
  stuck      a loop that is stuck is unhealthy, a sink that is down only unready
"""

from __future__ import annotations

import datetime as dt
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from auditctl.agent.metrics import metric_families
from auditctl.errors import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from auditctl.agent.evidence import EvidenceStatus
    from auditctl.agent.metrics import About
    from auditctl.config.model import SocketAddress
    from auditlog.verification.continuous import VerificationStatus
    from retention.schedule import Status
    from shippers.archive.status import ArchiveStatus
    from shippers.stats import ShippingStats

__all__ = ["MetricsServer", "Observed"]

_TEXT: Final = "text/plain; charset=utf-8"


class Observed(Protocol):
    """The methods of the agent that the server calls."""

    def shipping(self) -> ShippingStats | None:
        """The shippers' snapshot; None where nothing is shipped."""
        ...

    def retention(self) -> Status | None:
        """The schedule's snapshot; None where retention does not run."""
        ...

    def verification(self) -> VerificationStatus | None:
        """The state of continuous verification; None where it does not run."""
        ...

    def evidence(self) -> EvidenceStatus | None:
        """How far each log is signed and witnessed; None where nothing is signed."""
        ...

    def archive(self) -> ArchiveStatus | None:
        """The state of the archive; None where none is configured."""
        ...

    def about(self) -> About:
        """Version, start and reloads."""
        ...

    def stuck(self) -> str:
        """Return the loop that has not completed a round within some seconds; "" when all have."""
        ...

    def unready(self) -> tuple[str, ...]:
        """Return the reasons why written records may not be delivered now, one sentence each."""
        ...


class MetricsServer:
    """Serves a observed over HTTP until closed.  Raises CommandFailed when the port is taken."""

    def __init__(self, address: SocketAddress, observed: Observed) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_AgentCollector(observed))
        ProcessCollector(namespace="auditlog_agent", registry=registry)

        class MetricsHandler(_RequestHandler):
            def answer(self) -> tuple[HTTPStatus, str, bytes]:
                return _answer(self.path.partition("?")[0], registry, observed)

        try:
            self._server = _Server((address.host, address.port), MetricsHandler)
        except OSError as error:
            raise CommandFailed(
                f"{address}: metrics cannot be served there",
                errno=error.errno,
                hint='Set metrics to a free address, or to "" for none.',
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port in use, also when 0 was requested."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _RequestHandler(BaseHTTPRequestHandler):
    timeout = 10  # seconds; an idle client must not hold a thread for ever

    def answer(self) -> tuple[HTTPStatus, str, bytes]:
        raise NotImplementedError

    def do_GET(self) -> None:
        status, content_type, body = self.answer()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class names it so)
        """Log no requests: a scrape comes every few seconds."""


def _answer(
    path: str, registry: CollectorRegistry, observed: Observed
) -> tuple[HTTPStatus, str, bytes]:
    if path == "/metrics":
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)
    if path == "/healthz":
        stuck = observed.stuck()
        return _state(f"{stuck} is stuck\n" if stuck else "", "ok\n")
    if path == "/readyz":
        return _state("".join(f"{reason}\n" for reason in observed.unready()), "ready\n")
    return HTTPStatus.NOT_FOUND, _TEXT, b"there are /metrics, /healthz and /readyz\n"


def _state(trouble: str, fine: str) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK
    return status, _TEXT, (trouble or fine).encode()


class _AgentCollector(Collector):
    """Turns the observed's snapshots into metrics, each time it is asked."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def collect(self) -> Iterator[Metric]:
        of, now = self._observed, dt.datetime.now(dt.UTC)
        for family in metric_families(
            of.about(),
            of.shipping(),
            of.retention(),
            of.verification(),
            now,
            evidence=of.evidence(),
            archive=of.archive(),
        ):
            yield family.metric()
