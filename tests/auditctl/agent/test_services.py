from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from auditctl.agent.services import Services
from auditctl.config.model import Config
from auditctl.config.sinks import SqliteConfig
from auditctl.errors import ConfigError
from shippers.errors import QuarantineDamaged
from tests.support.logs import write_log
from tests.support.waiting import eventually


def config_of(place: Path) -> Config:
    sink = SqliteConfig("main", place / "sink.sqlite")
    return Config(
        directories=(place / "audit",), state_dir=place / "state", sinks=(sink,), metrics=None
    )


def shipped(place: Path) -> int:
    with closing(sqlite3.connect(place / "sink.sqlite")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM records").fetchone()
        return int(count)


def test_told(tmp_path: Path) -> None:
    write_log(tmp_path / "audit", records=3)
    quarantine = tmp_path / "state/quarantine/main.ndjson"
    quarantine.parent.mkdir(parents=True)
    quarantine.write_text("somebody else's line\n")
    ended = threading.Event()
    services = Services(config_of(tmp_path), retain=False, on_end=ended.set)
    services.start()
    assert ended.wait(60)
    eventually(lambda: not services.running)
    services.stop()
    assert isinstance(services.error, QuarantineDamaged)


def test_again(tmp_path: Path) -> None:
    log = write_log(tmp_path / "audit", records=10)
    for new, total in ((10, 10), (5, 15)):
        services = Services(config_of(tmp_path), retain=False)
        services.start()
        eventually(lambda: shipped(tmp_path) == total)  # noqa: B023  (called in this turn)
        assert services.running
        assert services.stuck(30) == ""
        services.stop()
        assert services.stuck(30) == "", "what has ended is not stuck"
        stats = services.shipping()
        assert stats is not None
        assert (stats.totals.indexed, stats.totals.duplicate) == (new, 0)
        log.append(5)


def test_nothing_to_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no sink"):
        Services(Config(directories=(tmp_path,), sinks=()), retain=False)
