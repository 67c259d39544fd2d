"""Run shippers, retention and metrics in one process, each in its own threads.

When one service ends with an error, the others are stopped and the error is raised, so that a
supervisor sees a failed unit and not a half-working one.

A reload makes a new set of services (auditctl.agent.services) while the old one works, and starts
it when the old one has stopped with its cursors durable.  When the new set cannot be made, the
reason is logged and the old one goes on.

Invariants (tests of the same name in tests/auditctl/agent/test_agent.py):
  together   what is written is shipped, and what is old is compressed, while it runs
  stops      SIGTERM ends it within five seconds with exit code 0, and nothing is lost
  all_or_none   when a service fails, the agent ends with its error
  reloads    after SIGHUP the new configuration and secrets are used, and nothing is lost
  keeps      a configuration that cannot work is refused with the reason and changes nothing
  alone      a second agent on the state directory is refused, before it serves or ships anything
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import signal
import threading
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Final

from auditctl.agent.metrics import About
from auditctl.agent.services import Services
from auditctl.agent.systemd import Notifier
from auditctl.config.sinks import ElasticsearchConfig
from auditctl.errors import ConfigError
from auditctl.exit_codes import ExitCode
from auditlog.errors import AuditLogError
from retention.lock import locked
from shippers.service import lock_shipping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from auditctl.agent.evidence import EvidenceStatus
    from auditctl.agent.metrics_server import MetricsServer
    from auditctl.config.model import Config
    from auditlog import durable_fs
    from auditlog.verification.continuous import VerificationStatus
    from retention.schedule import Status
    from shippers.archive.status import ArchiveStatus
    from shippers.stats import ShippingStats

__all__ = ["Agent", "exit_code"]

_logger = logging.getLogger("auditlog.agent")

_STUCK_SECONDS: Final = 10.0
_STATUS_SECONDS: Final = 10.0
_NAMED_ALARMS: Final = 5
_RETAIN_LOCK: Final = "retain-agent.lock"  # held for life; retention.lock is for a single run


def exit_code(number: signal.Signals | None) -> ExitCode:
    """Return the exit code: 0 for a service that was asked to stop, 130 for Ctrl-C."""
    return ExitCode.INTERRUPTED if number is signal.SIGINT else ExitCode.OK


class Agent:
    """The configured services.  ``run`` blocks until asked to stop; once only.

    ``read`` reads the configuration, now and at each reload.  Raises what it raises, and
    ConfigError, ShipperError when the services cannot be put together.
    """

    def __init__(
        self,
        read: Callable[[], Config],
        *,
        ship: bool = True,
        retain: bool = True,
        notifier: Notifier | None = None,
    ) -> None:
        self._read = read
        self._ship, self._retain = ship, retain
        self._notifier = notifier or Notifier({})
        self._state = "starting"
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._reload_wanted = False
        self._lock: durable_fs.FileLock | None = None
        self._metrics: MetricsServer | None = None
        self._said = ""
        config = read()
        now = dt.datetime.now(dt.UTC)
        self._about = About(_version(), now, now)
        with contextlib.ExitStack() as locks:
            # Refuse before touching anything else: port and sinks belong to the other agent.
            if ship and config.sinks:
                self._lock = lock_shipping(config.state_directory())
                locks.callback(self._lock.release)
            if retain:
                locks.enter_context(locked(config.state_directory() / _RETAIN_LOCK))
            self._services = self._make_services(config)
            self._locks = locks.pop_all()

    # Called by the metrics server ------------------------------------------------------------

    def shipping(self) -> ShippingStats | None:
        return self._services.shipping()

    def retention(self) -> Status | None:
        return self._services.retention()

    def verification(self) -> VerificationStatus | None:
        return self._services.verification()

    def evidence(self) -> EvidenceStatus | None:
        evidence = self._services.evidence()
        return None if evidence is None else evidence.status()

    def archive(self) -> ArchiveStatus | None:
        archive = self._services.archive()
        return None if archive is None else archive.status()

    def about(self) -> About:
        return self._about

    def stuck(self) -> str:
        return self._services.stuck(_STUCK_SECONDS)

    def unready(self) -> tuple[str, ...]:
        reasons = [f"the agent is {self._state}"] if self._state != "running" else []
        if self._state == "running" and not self._services.running:
            reasons.append("a service has ended")
        reasons += _unlisted(self._services.config.directories)
        stats = self._services.shipping()
        sinks = stats.sinks if stats is not None else ()
        reasons += [
            f"sink {sink.name}: {reason}"
            for sink in sinks
            for reason in (sink.trouble, sink.unsaved)
            if reason
        ]
        unreadable = {
            log.log: log.unreadable or log.trouble
            for log in (stats.logs if stats else ())
            if log.unreadable or log.name_taken
        }
        reasons += [f"{log}: {reason}" for log, reason in list(unreadable.items())[:_NAMED_ALARMS]]
        verification = self._services.verification()
        if verification is not None:
            reasons += [f"verification: {alarm}" for alarm in verification.alarms[:_NAMED_ALARMS]]
            reasons += [verification.trouble] if verification.trouble else []
        evidence = self._services.evidence()
        reasons += evidence.unready() if evidence is not None else []
        archive = self._services.archive()
        reasons += archive.unready() if archive is not None else []
        return tuple(reasons)

    # Called by the command -------------------------------------------------------------------

    def reload(self) -> None:
        """Ask for the configuration to be read again; from any thread."""
        self._reload_wanted = True
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Run until ``stop`` is set.  Raises the error that ended a service."""
        self._stop = stop
        threading.Thread(target=self._wake_when_stopped, name="agent-stop", daemon=True).start()
        with contextlib.ExitStack() as stack:
            stack.callback(self._locks.close)
            stack.callback(self._close_metrics)
            self._metrics = _serve(self._services.config, self)
            stack.callback(self._stop_services)
            self._services.start()
            for warning in self._warnings():
                _logger.warning("%s", warning)
            self._running("started")
            self._watch(stop)
            self._state = "stopping"
            self._notifier.stopping()
            _logger.info("stopping")
        if self._services.error is not None:
            raise self._services.error
        stats = self._services.shipping()
        if stats is not None and any(sink.unsaved for sink in stats.sinks):
            _logger.warning(
                "stopped; cursors could not be saved, so some records will be sent again"
            )
        else:
            _logger.info("stopped; everything acknowledged is recorded")

    # Internals -------------------------------------------------------------------------------

    def _watch(self, stop: threading.Event) -> None:
        """Wait for the end, reload when asked, and tell the supervisor that the work goes on."""
        watchdog = self._notifier.watchdog_seconds
        interval = _STATUS_SECONDS if watchdog is None else min(_STATUS_SECONDS, watchdog / 4)
        while not stop.is_set() and self._services.error is None:
            self._wake.wait(interval if self._notifier.listening else None)
            self._wake.clear()
            if stop.is_set() or self._services.error is not None:
                return
            if self._reload_wanted:
                self._reload_wanted = False
                self._reload()
            if watchdog is not None:
                if stuck := self._services.stuck(watchdog / 4):
                    _logger.error("%s is stuck; the watchdog is not told", stuck)
                else:
                    self._notifier.alive()
            if self._notifier.listening:
                self._tell_status()

    def _reload(self) -> None:
        self._state = "reloading"
        self._notifier.reloading()
        try:
            config = self._read()
            self._check_change(config)
            services = self._make_services(config)
        except (AuditLogError, OSError) as error:
            self._refused(error)
            return
        try:
            server = _serve(config, self) if self._moves_metrics(config) else self._metrics
        except AuditLogError as error:
            services.close()
            self._refused(error)
            return
        if server is not self._metrics:
            self._close_metrics()
            self._metrics = server
        self._services.stop()
        if self._services.error is not None:
            services.close()
            return  # its error ends the agent
        self._services = services
        services.start()
        about = self._about
        self._about = replace(about, loaded_at=dt.datetime.now(dt.UTC), reloads=about.reloads + 1)
        self._running("reloaded")

    def _refused(self, error: AuditLogError | OSError) -> None:
        _logger.error("the new configuration is refused, the previous one stays in use: %s", error)
        self._about = replace(self._about, failed_reloads=self._about.failed_reloads + 1)
        self._state = "running"
        self._notifier.ready("the new configuration was refused; see the log")

    def _running(self, verb: str) -> None:
        self._state = "running"
        text = ", ".join(self._services.describe())
        address = self._services.config.metrics
        served = f", metrics on http://{address}/metrics" if address is not None else ""
        _logger.info("%s: %s%s", verb, text, served)
        self._said = text
        self._notifier.ready(text)

    def _tell_status(self) -> None:
        text = "; ".join(self.unready()) or ", ".join(self._services.describe())
        if text != self._said:
            self._said = text
            self._notifier.status(text)

    def _stop_services(self) -> None:
        self._services.stop()

    def _warnings(self) -> Iterator[str]:
        for sink in self._services.config.sinks if self._ship else ():
            if isinstance(sink, ElasticsearchConfig):
                yield from sink.warnings()

    def _make_services(self, config: Config) -> Services:
        return Services(
            config, ship=self._ship, retain=self._retain, lock=self._lock, on_end=self._wake.set
        )

    def _check_change(self, config: Config) -> None:
        """Raise ConfigError for a change that needs a new process."""
        before = self._services.config
        if config.state_directory() != before.state_directory():
            raise ConfigError(
                "state_dir cannot change while the agent runs",
                path=config.state_directory(),
                hint="Restart the agent, after moving what the old one holds.",
            )
        if self._ship and bool(config.sinks) != bool(before.sinks):
            raise ConfigError(
                "the first sink cannot come, nor the last one go, while the agent runs",
                hint="Restart the agent.",
            )

    def _moves_metrics(self, config: Config) -> bool:
        return config.metrics != self._services.config.metrics

    def _wake_when_stopped(self) -> None:
        self._stop.wait()
        self._wake.set()

    def _close_metrics(self) -> None:
        server, self._metrics = self._metrics, None
        if server is not None:
            server.close()


def _serve(config: Config, agent: Agent) -> MetricsServer | None:
    if config.metrics is None:
        return None
    # Imported here since the library takes its time.
    from auditctl.agent.metrics_server import MetricsServer  # noqa: PLC0415  (see above)

    return MetricsServer(config.metrics, agent)


def _version() -> str:
    try:
        return metadata.version("llama-orch-auditlog")
    except metadata.PackageNotFoundError:
        return "source"


def _unlisted(directories: Sequence[Path]) -> Iterator[str]:
    """Name the directories of which no log is shipped, verified or retained now."""
    for directory in directories:
        try:
            os.scandir(directory).close()
        except OSError as error:
            yield f"{directory}: {error.strerror}; it is looked for again"
