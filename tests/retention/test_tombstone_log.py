"""The log of tombstones."""

from __future__ import annotations

import datetime as dt
import errno
import gzip
import hashlib
import os
import threading
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from auditlog import durable_fs
from auditlog.errors import AuditLogError, LogLocked
from auditlog.evidence.compact_range import CompactRange
from auditlog.evidence.merkle import leaf_hash
from auditlog.format.record import format_timestamp, parse_header
from auditlog.format.segment_names import LogId
from auditlog.format.tombstones import SEGMENT_DELETED, parse_tombstone, tombstone_problem
from auditlog.reading.inventory import scan
from auditlog.reading.selection import read
from auditlog.reading.tombstone_scan import tombstones_in
from auditlog.writer.opening import ReservedService, open_log
from retention.content import inspect
from retention.foreign_content import inspect_foreign
from retention.holds import Hold
from retention.policy import RetentionPolicy
from retention.subjects import AdoptedFile, Segment, SourceProgress
from retention.tombstone_log import (
    HOLD_ADDED,
    HOLD_RELEASED,
    RetentionRun,
    TombstoneLog,
    foreign_details,
    recorded_holds,
    segment_details,
)
from tests.support.foreign import DAY, NOW, foreign_policy, leave
from tests.support.logs import make_line

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.logs import LogBuilder


RUN = RetentionRun(NOW, simulated=True)


def details_of(built: LogBuilder, index: int) -> dict[str, Any]:
    path = built.paths[index]
    content, _ = inspect(path, "", LogId.parse(built.log), threading.Event())
    details = segment_details(
        segment_of(built, index), content, cursor={}, policy=RetentionPolicy(), run=RUN
    )
    return {**details, "by": "alice"}


def segment_of(built: LogBuilder, index: int) -> Segment:
    return Segment(scan(built.directory).logs[LogId.parse(built.log)][index])


def buried(directory: Path) -> list[str]:
    return [found.segment for found in tombstones_in(scan(directory).logs)]


def test_durable(daily: LogBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fdatasync = durable_fs.fdatasync

    def note(fd: int) -> None:
        fdatasync(fd)
        synced.extend(buried(daily.directory))

    monkeypatch.setattr(durable_fs, "fdatasync", note)
    with TombstoneLog(daily.directory, "hive1") as tombstones:
        tombstones.write_tombstone(SEGMENT_DELETED, details_of(daily, 0), actor="alice")
        assert synced[-1:] == [daily.paths[0].name]


def test_once(daily: LogBuilder) -> None:
    for _ in range(2):
        with TombstoneLog(daily.directory, "hive1") as tombstones:
            for index in (0, 1, 0):
                tombstones.write_tombstone(SEGMENT_DELETED, details_of(daily, index), actor="alice")
    assert buried(daily.directory) == [daily.paths[0].name, daily.paths[1].name]


def test_a_run_without_deletions_writes_nothing(daily: LogBuilder) -> None:
    before = sorted(daily.directory.iterdir())
    with TombstoneLog(daily.directory, "hive1"):
        pass
    assert sorted(daily.directory.iterdir()) == before


def test_a_tombstone_says_who_and_what(daily: LogBuilder) -> None:
    with TombstoneLog(daily.directory, "hive1") as tombstones:
        tombstones.write_tombstone(SEGMENT_DELETED, details_of(daily, 0), actor="alice")
    own = scan(daily.directory).logs[LogId("retention", "hive1")]
    found = [
        record
        for record in read(own[0].path, log_events=True)
        if record.event_type == SEGMENT_DELETED
    ]
    assert found[0].fields["actor"]["user_id"] == "alice"
    assert found[0].fields["resource"]["resource_id"] == daily.paths[0].name
    assert found[0].fields["details"] == details_of(daily, 0)


def test_a_log_that_another_process_writes_is_an_error(daily: LogBuilder) -> None:
    with (
        open_log(daily.directory, service=ReservedService("retention"), host="hive1"),
        TombstoneLog(daily.directory, "hive1") as tombstones,
        pytest.raises(LogLocked),
    ):
        tombstones.write_tombstone(SEGMENT_DELETED, details_of(daily, 0), actor="alice")


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS])
def test_a_disk_that_fails_is_an_error(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(_fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(durable_fs, "fdatasync", fail)
    with (
        pytest.raises((AuditLogError, OSError)),
        TombstoneLog(daily.directory, "hive1") as tombstones,
    ):
        tombstones.write_tombstone(SEGMENT_DELETED, details_of(daily, 0), actor="alice")


@pytest.mark.parametrize("mode", [0o700, 0o750])
def test_who_may_read_the_directory_may_read_the_proofs(daily: LogBuilder, mode: int) -> None:
    daily.directory.chmod(mode)
    with TombstoneLog(daily.directory, "hive1") as tombstones:
        tombstones.write_tombstone(SEGMENT_DELETED, details_of(daily, 0), actor="alice")
    own = scan(daily.directory).logs[LogId("retention", "hive1")]
    assert own[0].path.stat().st_mode & 0o777 == mode & 0o640


def test_complete(daily: LogBuilder) -> None:
    content, _ = inspect(daily.paths[2], "", LogId.parse(daily.log), threading.Event())
    details = segment_details(
        segment_of(daily, 2),
        content,
        cursor={"main": 40, "copy": 35},
        policy=RetentionPolicy(),
        run=RUN,
    )
    line, _ = make_line(
        "retention@hive1", 1, event_type=SEGMENT_DELETED, details={**details, "by": "alice"}
    )
    header = parse_header(line)
    assert header is not None
    assert tombstone_problem(header, line) == ""
    found = parse_tombstone(header, line)
    assert found is not None
    assert (found.log, found.segment) == (daily.log, daily.paths[2].name)
    assert (found.first_seq, found.last_seq, found.records) == (21, 30, 10)
    assert found.first_prev_hash == daily.headers[19].hash
    assert found.last_hash == daily.headers[29].hash
    assert list(details["cursor"]) == ["copy", "main"]
    assert details["bytes"] == daily.paths[2].stat().st_size
    assert details["last_record_at"] == daily.headers[29].timestamp
    assert details["policy"]["delete_after"] == "90d"


def test_a_tombstone_has_the_subtrees_of_its_records(daily: LogBuilder) -> None:
    """With them the root of the whole log can be computed without the records."""
    whole, joined = CompactRange(), CompactRange()
    for index, path in enumerate(daily.paths):
        for line in path.read_bytes().splitlines():
            whole.append(leaf_hash(line))
        content, _ = inspect(path, "", LogId.parse(daily.log), threading.Event(), with_tree=True)
        tree = segment_details(
            segment_of(daily, index), content, cursor={}, policy=RetentionPolicy(), run=RUN
        )["tree"]
        assert (tree["first_index"], tree["size"]) == (index * 10, index * 10 + 10)
        leaves = b"".join(map(leaf_hash, path.read_bytes().splitlines()))
        assert tree["leaves_sha256"] == hashlib.sha256(leaves).hexdigest()
        nodes = [bytes.fromhex(node) for node in tree["nodes"]]
        joined.extend(CompactRange.of(tree["first_index"], tree["size"], nodes))
        assert joined.root() == whole.root()


def test_a_tombstone_of_a_foreign_file_has_its_bytes_its_age_and_who_shipped_it(
    tmp_path: Path,
) -> None:
    path = leave(tmp_path, "a.ndjson", 100 * DAY, form=".gz")
    (foreign,) = foreign_policy(tmp_path, source=True).foreign
    content, _ = inspect_foreign(path, ".gz", foreign.timestamp_fields, threading.Event())
    progress = (SourceProgress("main", "old"),)
    at = NOW - 100 * DAY
    file = AdoptedFile(path, (".gz",), 1, foreign, at, content=content, progress=progress)
    plain = gzip.decompress(path.read_bytes())
    assert foreign_details(file, content) == {
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
    }


def hold_records(directory: Path, *records: tuple[str, dict[str, Any]]) -> None:
    with TombstoneLog(directory, "hive1") as log:
        for event_type, details in records:
            log.write(event_type, ("hold", str(details.get("id"))), details, actor="alice")


def test_the_holds_on_record_are_those_that_were_added_and_not_released(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for directory in (one, other):
        directory.mkdir(mode=0o700)
    at = dt.datetime(2026, 8, 1, tzinfo=dt.UTC)
    held = Hold("a", "legal", "case", "queen-*", at, at + DAY, None, "alice", "req-1")
    gone = Hold("b", "legal", "case")
    hold_records(one, (HOLD_ADDED, held.to_json()), (HOLD_ADDED, gone.to_json()))
    hold_records(one, (HOLD_RELEASED, gone.to_json()), (HOLD_ADDED, {"id": "c"}))
    hold_records(other, (HOLD_ADDED, gone.to_json()))
    *known, unknown = sorted(recorded_holds([one, other, tmp_path / "gone"]), key=lambda h: h.id)
    assert known == [held, gone]
    assert unknown.logs == "*", "what cannot be understood holds everything"
    assert "cannot be understood" in unknown.reason
    hold_records(other, (HOLD_RELEASED, gone.to_json()))
    assert gone not in recorded_holds([one, other])
