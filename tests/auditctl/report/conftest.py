"""A month of logs to report on, with whatever somebody might write into a record."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from auditctl.config.model import Config
from auditctl.report.collect import ActivityReport, collect
from tests.support.logs import START, LogBuilder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOSTILE = '"><img src=x onerror="document.title=1"><script>document.title=1</script>{{7*7}}\u202e'


@pytest.fixture
def month(tmp_path: Path) -> LogBuilder:
    """40 days of a log, of which a report on 30 days sees the last; its active day is START's."""
    directory = tmp_path / "audit"
    directory.mkdir(mode=0o700)
    log = LogBuilder(directory, at=START - dt.timedelta(days=40), step=dt.timedelta(hours=5))
    while log.at < START:
        log.append(1)
        log.append(1, event_type="pool.drained", outcome="failure")
        actor = {"user_id": HOSTILE, "ip": HOSTILE}
        log.append(1, event_type="auth_failure", outcome="failure", actor=actor, reason=HOSTILE)
    return log


@pytest.fixture
def report_on() -> Callable[..., ActivityReport]:
    def report(directory: Path, until: dt.datetime = START) -> ActivityReport:
        since = START - dt.timedelta(days=30)
        return collect(Config(directories=(directory,)), [directory], since, until, until)

    return report
