"""The agent's own log, from outside: files in a directory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import auditlog
from auditctl.agent.own_log import OwnLog
from auditctl.agent.services import Services
from auditctl.config.model import Config
from auditctl.config.sinks import SqliteConfig
from auditlog.format.segment_names import LogId
from tests.support.logs import write_log
from tests.support.waiting import eventually

SECOND = dt.timedelta(seconds=1)
LOG = LogId("auditlog-agent", "hive1")


def nothing() -> Mapping[str, int]:
    return {}


def heartbeats(directory: Path) -> list[dict[str, Any]]:
    return [
        record.fields["details"]
        for record in auditlog.read(directory, log_events=True)
        if record.event_type == "log.heartbeat" and record.log == str(LOG)
    ]


def test_beats(tmp_path: Path) -> None:
    """A heartbeat counts the records shipped since the last one, and is shipped itself."""
    audit = tmp_path / "audit"
    write_log(audit, records=10)
    config = Config(
        directories=(audit,),
        state_dir=tmp_path / "state",
        host="hive1",
        sinks=(SqliteConfig("main", tmp_path / "sink.sqlite"),),
        metrics=None,
        heartbeat=SECOND,
    )
    services = Services(config, retain=False)
    services.start()

    def shipped() -> int:
        stats = services.shipping()
        assert stats is not None
        return {each.log: each.indexed for each in stats.logs}.get(str(LOG), 0)

    eventually(lambda: len(heartbeats(audit)) >= 2)
    eventually(lambda: shipped() >= 4)  # segment opened, log opened, two heartbeats
    services.stop()
    totals = [beat["counts"] for beat in heartbeats(audit)]
    stats = services.shipping()
    assert stats is not None
    assert 0 < sum(each["indexed"] for each in totals) <= stats.totals.indexed
    assert all(each["duplicate"] == each["quarantined"] == 0 for each in totals)
    assert auditlog.verify(audit).ok
    newest = [*auditlog.read(audit, log_events=True)]
    assert [r.event_type for r in newest if r.log == str(LOG)][-1] == "log.closed"


def test_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody else has the log; when they let go of it, it is opened."""
    caplog.set_level("WARNING")
    first = OwnLog([tmp_path], LOG, SECOND, nothing)
    first.start()
    eventually(lambda: bool(heartbeats(tmp_path)))
    second = OwnLog([tmp_path], LOG, SECOND, nothing)
    second.start()
    eventually(lambda: "heartbeats are not on record" in caplog.text)
    first.stop()
    told = caplog.text.count("heartbeats are not on record")
    before = len(heartbeats(tmp_path))
    eventually(lambda: len(heartbeats(tmp_path)) > before)
    second.stop()
    assert told == 1
    assert auditlog.verify(tmp_path).ok


def test_a_directory_that_may_be_written_is_taken_and_kept(tmp_path: Path) -> None:
    absent, usable = tmp_path / "absent", tmp_path / "usable"
    usable.mkdir(mode=0o700)
    for _ in range(2):
        log = OwnLog([absent, usable], LOG, SECOND, nothing)
        log.start()
        before = len(heartbeats(usable))
        eventually(lambda: len(heartbeats(usable)) > before)  # noqa: B023  (called in this turn)
        log.stop()
        absent.mkdir(mode=0o700, exist_ok=True)  # first in the list, and without the log
    assert not any(absent.iterdir())


def test_an_agent_without_heartbeats_has_no_log(tmp_path: Path) -> None:
    log = OwnLog([tmp_path], LOG, dt.timedelta(0), nothing)
    log.start()
    log.stop()
    assert not any(tmp_path.iterdir())
