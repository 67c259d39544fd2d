from __future__ import annotations

import logging

import pytest

from auditlog.bridges.outage import Outage
from auditlog.errors import LogFailed


def test_said_once(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("asgi")
    outage.recorded()
    for _ in range(3):
        outage.lost(LogFailed("the disk is gone"))
    outage.recorded()
    outage.recorded()
    outage.lost(TimeoutError())
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "asgi: events are not recorded: the disk is gone"),
        (logging.WARNING, "asgi: events are recorded again; 3 were not"),
        (logging.ERROR, "asgi: events are not recorded: TimeoutError"),
    ]
