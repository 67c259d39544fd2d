"""The agent: shippers, retention and metrics in one process, each with its own threads.

When one part ends by an error, the others are stopped and the error is raised: a supervisor sees
a failed service and not one that works by half.

Invariants (tests of the same name in tests/auditctl/test_agent.py):
  together   what is written is shipped, and what is old is compressed, while it runs
  stops      SIGTERM ends it within five seconds with exit code 0, and nothing is lost
  all_or_none   when a part fails, the agent ends with its error
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from typing import TYPE_CHECKING

from auditctl.errors import ConfigError
from auditctl.exit_codes import ExitCode
from auditctl.sinks import make_sinks
from auditlog import _fs
from shippers.delivery import DeliveryOptions
from shippers.service import ShippingOptions, ShippingService

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from auditctl.config import Config
    from retention.schedule import RetentionSchedule, Status
    from shippers.service import Summary
    from shippers.sinks.protocol import Sink
    from shippers.stats import Stats

__all__ = ["Agent", "exit_code"]

_logger = logging.getLogger("auditlog.agent")


def exit_code(number: signal.Signals | None) -> ExitCode:
    """A service that was asked to stop has done well; a person who pressed Ctrl-C knows."""
    return ExitCode.INTERRUPTED if number is signal.SIGINT else ExitCode.OK


class Agent:
    """The configured parts.  ``run`` blocks until asked to stop; once only.

    Raises ConfigError, ShipperError when the parts cannot be put together.
    """

    def __init__(self, config: Config, *, ship: bool = True, retain: bool = True) -> None:
        config.check_logs()
        state_dir = config.state_directory()
        _fs.make_directory(state_dir)
        self._config = config
        self._sinks: tuple[Sink, ...] = ()
        self._shipping: ShippingService | None = None
        self._schedule: RetentionSchedule | None = None
        if ship and config.sinks:
            self._sinks = make_sinks(config.sinks)
            self._shipping = ShippingService(
                config.directories,
                self._sinks,
                state_dir,
                _options(config),
            )
        if retain:
            self._schedule = _schedule(config)
        if self._shipping is None and self._schedule is None:
            raise ConfigError(
                "there is no sink to ship to", hint="Add [sinks.main] to the configuration."
            )
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._stop = threading.Event()

    # What the metrics ask for ----------------------------------------------------------------

    def shipping(self) -> Stats | None:
        return None if self._shipping is None else self._shipping.stats()

    def retention(self) -> Status | None:
        return None if self._schedule is None else self._schedule.status()

    def ready(self) -> bool:
        ships = self._shipping is None or (self._thread is not None and self._thread.is_alive())
        return ships and not self._stop.is_set()

    # What the commands do --------------------------------------------------------------------

    def ship_once(self, give_up_after: dt.timedelta, stop: threading.Event) -> Summary:
        """Ship what is there.  Raises ShippingStalled, naming the sink and the cause."""
        if self._shipping is None:
            raise ConfigError("there is no sink to ship to")
        try:
            return self._shipping.run_once(stop, give_up_after=give_up_after)
        finally:
            self._close_sinks()

    def run(self, stop: threading.Event) -> None:
        """Run until ``stop`` is set.  Raises what ended a part."""
        self._stop = stop
        with contextlib.ExitStack() as stack:
            stack.callback(self._close_sinks)
            if self._config.metrics is not None:
                stack.enter_context(_metrics(self))
            if self._shipping is not None:
                self._thread = threading.Thread(target=self._ship, name="shipping", daemon=True)
                self._thread.start()
                stack.callback(self._thread.join)
            if self._schedule is not None:
                stack.callback(self._schedule.stop)
                self._schedule.start()
            _logger.info("started: %s", ", ".join(self._parts()))
            stop.wait()
            _logger.info("stopping")
        if self._error is not None:
            raise self._error
        _logger.info("stopped; everything acknowledged is recorded")

    def _ship(self) -> None:
        assert self._shipping is not None  # noqa: S101  (started only where it is there)
        try:
            self._shipping.run(self._stop)
        except BaseException as error:  # noqa: BLE001  (raised by run, in the caller's thread)
            self._error = error
        finally:
            self._stop.set()

    def _close_sinks(self) -> None:
        for sink in self._sinks:
            sink.close()

    def _parts(self) -> Iterator[str]:
        for sink in self._config.sinks if self._shipping is not None else ():
            yield f"ships to {sink.name} ({sink.address})"
        if self._schedule is not None:
            yield "retains"
        if self._config.metrics is not None:
            yield f"metrics on http://{self._config.metrics}/metrics"


@contextlib.contextmanager
def _metrics(agent: Agent) -> Iterator[None]:
    # Imported here since `ship` serves none, and the library takes its time.
    from auditctl.metrics import MetricsServer  # noqa: PLC0415  (see above)

    assert agent._config.metrics is not None  # noqa: S101, SLF001  (same module; asked before)
    server = MetricsServer(agent._config.metrics, agent)  # noqa: SLF001  (same module)
    try:
        yield
    finally:
        server.close()


def _options(config: Config) -> ShippingOptions:
    held_bytes = config.max_in_flight_bytes
    batch_bytes = min(DeliveryOptions().batch_bytes, held_bytes)
    return ShippingOptions(delivery=DeliveryOptions(batch_bytes=batch_bytes, held_bytes=held_bytes))


def _schedule(config: Config) -> RetentionSchedule:
    # Imported here since only the agent needs a scheduler.
    from retention.schedule import RetentionSchedule, Timetable  # noqa: PLC0415  (see above)

    return RetentionSchedule(
        config.directories,
        config.policy,
        config.state_dir,
        [sink.name for sink in config.sinks],
        Timetable(interval=config.schedule.every),
        host=config.host,
        instances={place: config.retention_instance(place) for place in config.directories},
    )
