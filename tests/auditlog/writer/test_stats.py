"""The figures of an open log."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import auditlog
from auditlog.writer.stats import Stats


def test_every_figure_is_that_of_the_log_that_was_asked(tmp_path: Path) -> None:
    with auditlog.open(tmp_path, service="queen-rbee", host="hive1") as log:
        before = log.stats()
        log.emit("task.submitted", details={"password": "hunter2-hunter2"})
        stats = log.stats()
    assert isinstance(stats, Stats)
    assert stats.log == "queen-rbee@hive1"
    assert (stats.queued, stats.queued_bytes, stats.refused, stats.failed) == (0, 0, 0, False)
    assert stats.durable == stats.written == before.durable + 1
    assert stats.durable_bytes > before.durable_bytes
    assert stats.durable_seq == stats.last_seq == before.last_seq + 1
    assert stats.commits > before.commits
    assert stats.last_commit_seconds > 0
    assert stats.commit_p99_seconds > 0
    assert stats.redactions == {"password": 1}


def test_a_log_that_redacted_nothing_has_no_count_of_it() -> None:
    default = next(field for field in fields(Stats) if field.name == "redactions")
    assert default.default_factory() == {}  # type: ignore[misc]  # it has one
