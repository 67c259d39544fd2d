"""What a tombstone tells."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from auditlog.record import parse_header
from auditlog.segment_names import LogId
from auditlog.tombstones import SEGMENT_DELETED, parse_tombstone
from retention import tombstone
from retention.content import inspect
from retention.policy import Policy
from tests.support.logs import make_line

if TYPE_CHECKING:
    from tests.support.logs import LogBuilder


def test_complete(daily: LogBuilder) -> None:
    content, _ = inspect(daily.paths[2], "", LogId.parse(daily.log), threading.Event())
    details = tombstone.details(
        daily.log,
        daily.paths[2].name,
        content,
        cursor={"main": 40, "copy": 35},
        policy=Policy(),
        by="alice",
    )
    line, _ = make_line("retention@hive1", 1, event_type=SEGMENT_DELETED, details=details)
    header = parse_header(line)
    assert header is not None
    found = parse_tombstone(header, line)
    assert found is not None
    assert (found.log, found.segment) == (daily.log, daily.paths[2].name)
    assert (found.first_seq, found.last_seq, found.records) == (21, 30, 10)
    assert found.first_prev_hash == daily.headers[19].hash
    assert found.last_hash == daily.headers[29].hash
    assert list(details["cursor"]) == ["copy", "main"]
    assert details["bytes"] == daily.paths[2].stat().st_size
    assert details["last_record_at"] == daily.headers[29].timestamp
    assert (details["policy"]["delete_after"], details["by"]) == ("90d", "alice")
