"""Start and stop the sinks, shipping and retention of one configuration.

The agent has one set of services at a time, and another one after each reload.  Making a set
touches nothing that the previous one uses, so that a configuration that cannot work is refused
while the previous one runs on.

Invariants (tests of the same name in tests/auditctl/agent/test_services.py):
  told       the error that ends shipping is kept, and the waiting agent is woken
  again      a second set goes on where the first one stopped
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from auditctl.agent.alarms import AlarmBook
from auditctl.agent.archive import ArchivePart
from auditctl.agent.evidence import EvidencePart
from auditctl.agent.own_log import OwnLog, delivered
from auditctl.composition.archived import archived_segments
from auditctl.composition.index_count import SinkCounts
from auditctl.composition.index_retention import IndexRetention
from auditctl.composition.sinks import make_sinks
from auditctl.composition.sources import make_sources
from auditctl.composition.witnessed import witnessed_seqs
from auditctl.errors import ConfigError
from auditlog.events.base import AGENT_SERVICE
from auditlog.format.segment_names import LogId
from auditlog.reading.deleted_indices import DeletedIndices
from auditlog.verification.continuous import ContinuousVerification
from retention.priority import give_way
from shippers.delivery import DeliveryOptions
from shippers.service import ShippingOptions, ShippingService

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Mapping

    from auditctl.config.model import Config
    from auditlog import durable_fs
    from auditlog.evidence.service import EvidenceService
    from auditlog.verification.continuous import VerificationStatus
    from retention.schedule import RetentionSchedule, Status
    from shippers.service import Summary
    from shippers.sinks.protocol import Sink
    from shippers.stats import ShippingStats

__all__ = ["Services"]


class Services:
    """The services that a configuration asks for.

    ``lock`` is the state directory's shipping lock, when the caller holds it; ``on_end`` is called
    from the shipping thread when shipping has ended.  Raises ConfigError, ShipperError, OSError
    when the services cannot be made; nothing is started then.
    """

    def __init__(
        self,
        config: Config,
        *,
        ship: bool = True,
        retain: bool = True,
        lock: durable_fs.FileLock | None = None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        config.check_logs()
        self.config = config
        self.error: BaseException | None = None
        self._on_end = on_end
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._sinks: tuple[Sink, ...] = ()
        self._shipping: ShippingService | None = None
        self._schedule: RetentionSchedule | None = None
        self._verification: ContinuousVerification | None = None
        self._verifying: threading.Thread | None = None
        self._evidence: EvidencePart | None = None
        self._archive: ArchivePart | None = None
        if ship and (service := _evidence_of(config)) is not None:
            self._evidence = EvidencePart(service)
        if ship and config.archive is not None and config.directories:
            from auditctl.composition.archive import make_archive  # noqa: PLC0415  (needs boto3)

            self._archive = ArchivePart(make_archive(config))
        if ship and config.sinks:
            self._sinks = make_sinks(config.sinks, config.directories)
            self._shipping = ShippingService(
                config.directories,
                self._sinks,
                config.state_directory(),
                _options(config),
                lock=lock,
                sources=make_sources(config),
                retention_hosts=config.deleting_hosts(),
            )
        if retain and config.directories:  # retention does not delete other programs' documents
            self._schedule = _schedule(config)
        if config.directories:
            self._verification = _verification(config)
        self._own_log = _own_log(config, self.shipping, ship=ship)
        if self._shipping is None and self._schedule is None and self._archive is None:
            raise ConfigError(
                "there is no sink to ship to", hint="Add [sinks.main] to the configuration."
            )

    @property
    def running(self) -> bool:
        ships = self._shipping is None or (self._thread is not None and self._thread.is_alive())
        return ships and not self._stop.is_set()

    def shipping(self) -> ShippingStats | None:
        return None if self._shipping is None else self._shipping.stats()

    def retention(self) -> Status | None:
        return None if self._schedule is None else self._schedule.status()

    def verification(self) -> VerificationStatus | None:
        return None if self._verification is None else self._verification.status()

    def evidence(self) -> EvidencePart | None:
        return self._evidence

    def archive(self) -> ArchivePart | None:
        return self._archive

    def stuck(self, timeout: float) -> str:
        """Return the loop that completes no round within ``timeout`` seconds; "" when all do."""
        if self._shipping is None or not self.running:
            return ""
        return self._shipping.stuck(timeout)

    def describe(self) -> Iterator[str]:
        for sink in self.config.sinks if self._shipping is not None else ():
            yield f"ships to {sink.name} ({sink.address})"
        if self._schedule is not None:
            yield "retains"
        if self._evidence is not None:
            yield "signs"
        if self._archive is not None and self.config.archive is not None:
            yield f"archives in {self.config.archive.address}"

    def start(self) -> None:
        if self._shipping is not None:
            self._thread = threading.Thread(target=self._ship, name="shipping", daemon=True)
            self._thread.start()
        if self._schedule is not None:
            self._schedule.start()
        if self._verification is not None:
            self._verifying = threading.Thread(target=self._verify, name="verify", daemon=True)
            self._verifying.start()
        if self._evidence is not None:
            self._evidence.start()
        if self._own_log is not None:
            self._own_log.start()
        if self._archive is not None:
            self._archive.start()

    def stop(self) -> None:
        """Return when everything has ended, within five seconds, with cursors durable."""
        self._stop.set()
        if self._own_log is not None:
            self._own_log.stop()
        if self._schedule is not None:
            self._schedule.stop()
        if self._archive is not None:
            self._archive.stop()
        for thread in (self._thread, self._verifying):
            if thread is not None:
                thread.join()
        if self._evidence is not None:
            self._evidence.stop()
        self.close()

    def close(self) -> None:
        """Close sinks and sources that were opened and never started."""
        for sink in self._sinks:
            sink.close()

    def ship_once(self, give_up_after: dt.timedelta, stop: threading.Event) -> Summary:
        """Ship what is there.  Raises ShippingStalled, naming the sink and the cause."""
        if self._shipping is None:
            raise ConfigError("there is no sink to ship to")
        try:
            return self._shipping.run_once(stop, give_up_after=give_up_after)
        finally:
            self.close()

    def _verify(self) -> None:
        assert self._verification is not None  # noqa: S101  (started only where it is there)
        give_way("continuous verification")
        try:
            self._verification.run(self._stop)
        except BaseException as error:  # noqa: BLE001  (raised by the agent, in its own thread)
            self.error = error
            self._on_end()

    def _ship(self) -> None:
        assert self._shipping is not None  # noqa: S101  (started only where it is there)
        try:
            self._shipping.run(self._stop)
        except BaseException as error:  # noqa: BLE001  (raised by the agent, in its own thread)
            self.error = error
        finally:
            self._on_end()


def _verification(config: Config) -> ContinuousVerification:
    settings = config.evidence
    return ContinuousVerification(
        config.directories,
        config.state_directory(),
        AlarmBook(config.state_directory()).enter,
        every=settings.verify_every,
        cpu_share=settings.verify_cpu_share,
        retention_hosts=config.deleting_hosts(),
    )


def _evidence_of(config: Config) -> EvidenceService | None:
    """Imported late: only hosts with a key need the libraries of evidence."""
    if not config.directories:
        return None
    path = config.evidence.key or config.state_directory() / "evidence.key"
    if config.evidence.key is None and not path.exists():
        return None
    from auditctl.composition.evidence import make_evidence  # noqa: PLC0415  (see above)

    return make_evidence(config)


def _own_log(
    config: Config, shipping: Callable[[], ShippingStats | None], *, ship: bool
) -> OwnLog | None:
    """The log of the agent's heartbeats; an agent that only retains has an instance of its own."""
    if not config.directories or not config.heartbeat:
        return None

    def totals() -> Mapping[str, int]:
        stats = shipping()
        return {} if stats is None else delivered(stats)

    log_id = LogId(AGENT_SERVICE, config.host, "" if ship else "retention")
    return OwnLog(config.directories, log_id, config.heartbeat, totals)


def _options(config: Config) -> ShippingOptions:
    held_bytes = config.max_in_flight_bytes
    batch_bytes = min(DeliveryOptions().batch_bytes, held_bytes)
    return ShippingOptions(
        delivery=DeliveryOptions(
            batch_bytes=batch_bytes, held_bytes=held_bytes, linger=config.linger
        )
    )


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
        counter=SinkCounts(
            config.sinks, config.state_directory(), DeletedIndices(config.directories)
        ),
        indices=IndexRetention(config).scheduled,
        witnessed=lambda: witnessed_seqs(config),
        archived=lambda: archived_segments(config),
    )
