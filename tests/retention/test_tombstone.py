"""What a tombstone tells."""

from __future__ import annotations

import datetime as dt
import gzip
import threading
from hashlib import sha256
from typing import TYPE_CHECKING

from auditlog.format.record import format_timestamp, parse_header
from auditlog.format.segment_names import LogId
from auditlog.format.tombstones import SEGMENT_DELETED, parse_tombstone
from retention import tombstone
from retention.content import inspect
from retention.facts import AdoptedFile, Placing
from retention.foreign_content import inspect_foreign
from retention.policy import Policy
from tests.support.foreign import DAY, NOW, foreign_policy, leave
from tests.support.logs import make_line

if TYPE_CHECKING:
    from pathlib import Path

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


def test_foreign(tmp_path: Path) -> None:
    path = leave(tmp_path, "a.ndjson", 100 * DAY, form=".gz")
    (foreign,) = foreign_policy(tmp_path, source=True).foreign
    content, _ = inspect_foreign(path, ".gz", foreign.timestamp_fields, threading.Event())
    placings = (Placing("main", "old"),)
    at = NOW - 100 * DAY
    file = AdoptedFile(path, (".gz",), 1, foreign, at, content=content, placings=placings)
    plain = gzip.decompress(path.read_bytes())
    assert tombstone.foreign_details(file, content, by="alice") == {
        "file": "a.ndjson.gz",
        "forms": ["a.ndjson.gz"],
        "bytes": len(plain),
        "sha256": sha256(plain).hexdigest(),
        "lines": 3,
        "untimed_lines": 0,
        "first_timestamp": format_timestamp(at - dt.timedelta(seconds=2)),
        "last_timestamp": format_timestamp(at),
        "modified_at": format_timestamp(at),
        "shipped": [{"source": "old", "sink": "main"}],
        "policy": foreign.to_json(),
        "by": "alice",
    }
