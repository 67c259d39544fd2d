from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import auditlog
from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result
    from tests.support.logs import LogBuilder

REASON = ("--reason", "host retired, ticket OPS-17")


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    directory = tmp_path / "audit"
    directory.mkdir()
    write_log(directory, "other@hive1", records=1)
    return directory


@pytest.fixture
def gone(run: Callable[..., Result], audit: Path, tmp_path: Path) -> LogBuilder:
    """A log that was shipped, and then removed by hand."""
    log = write_log(audit, records=4)
    assert run("ship", audit, "--to", tmp_path / "audit.sqlite", "--once").code == 0
    assert run("verify", audit).code == 0
    log.active.unlink()
    assert run("verify", audit).code == 1
    assert run("status", audit).code == 1
    return log


def test_a_forgotten_log_is_no_longer_missing_and_that_is_on_record(
    run: Callable[..., Result], audit: Path, gone: LogBuilder
) -> None:
    result = run("forget", gone.log, audit, *REASON, "--json")
    assert result.code == 0
    assert result.json["schema"] == "auditctl.forget/1"
    assert (result.json["log"], result.json["through_seq"]) == (gone.log, 4)
    [record] = [
        record
        for record in auditlog.read(audit, log_events=True)
        if record.event_type == "retention.log_forgotten"
    ]
    details = record.fields["details"]
    assert details["reason"] == REASON[1]
    assert details["known_from"][0].startswith("the cursor of sink ")
    assert record.log.startswith("retention@")
    verified = run("verify", audit)
    assert (verified.code, gone.log in verified.out) == (0, False)
    assert run("status", audit).code == 0
    again = run("forget", gone.log, audit, *REASON)
    assert again.code == 1
    assert "already forgotten" in again.err


def test_what_is_shipped_of_it_later_is_missed_again(
    run: Callable[..., Result], audit: Path, gone: LogBuilder, tmp_path: Path
) -> None:
    """The retirement covers what was known then, and nothing after it."""
    assert run("forget", gone.log, audit, *REASON).code == 0
    gone.active.write_bytes(b"".join(gone.lines))
    gone.append(2)
    assert run("ship", audit, "--to", tmp_path / "audit.sqlite", "--once").code == 0
    gone.active.unlink()
    result = run("verify", audit)
    assert result.code == 1
    assert "missing_log" in result.out


def test_a_log_that_is_there_is_not_forgotten(run: Callable[..., Result], audit: Path) -> None:
    result = run("forget", "other@hive1", audit, *REASON)
    assert result.code == 4
    assert "are still there; nothing was done" in result.err
    assert not list(audit.glob("retention@*"))


def test_a_log_that_nobody_knows_is_refused(run: Callable[..., Result], audit: Path) -> None:
    result = run("forget", "never@hive1", audit, *REASON)
    assert result.code == 1
    assert "log never@hive1 is unknown on this host" in result.err
    assert run("forget", "no log", audit, *REASON).code != 0
    assert run("forget", "other@hive1", audit).code == 2
