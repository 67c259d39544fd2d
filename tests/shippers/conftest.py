"""A shipping service that runs in a thread for as long as a test needs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from shippers.service import ShippingService


class Running:
    """A service in its thread; ``stop`` raises what it raised."""

    def __init__(self, service: ShippingService) -> None:
        self.service = service
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.service.run(self._stop)
        except BaseException as error:  # noqa: BLE001  (raised again by stop)
            self.error = error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the service did not stop"
        if self.error is not None:
            raise self.error


@pytest.fixture
def running() -> Iterator[Callable[[ShippingService], Running]]:
    """Start a service; it is stopped after the test if the test did not."""
    started: list[Running] = []

    def start(service: ShippingService) -> Running:
        started.append(Running(service))
        return started[-1]

    yield start
    for one in started:
        one.stop()
