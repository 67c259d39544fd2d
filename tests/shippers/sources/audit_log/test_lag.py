from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import auditlog
from auditlog.format.record import parse_timestamp
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import scan
from shippers.batch import Position
from shippers.sources.audit_log.lag import LastRecord, newest_seq, written_at
from tests.support.logs import LogBuilder, write_log

if TYPE_CHECKING:
    from pathlib import Path

    from auditlog.reading.inventory import SegmentFile


def segments(log: LogBuilder) -> tuple[SegmentFile, ...]:
    return scan(log.directory).logs[LogId.parse(log.log)]


def behind(log: LogBuilder, index: int, records: int) -> Position:
    """The place behind the first records of a segment that has ten."""
    lines = log.lines[10 * index : 10 * index + records]
    return Position(log.names[index].logical, sum(map(len, lines)), 10 * index + records)


def test_the_first_record_behind_the_position_counts(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=10, segments=3)
    times = [parse_timestamp(header.timestamp) for header in log.headers]
    assert written_at(segments(log), Position()) == times[0]
    assert written_at(segments(log), behind(log, 0, 4)) == times[4]
    assert written_at(segments(log), behind(log, 0, 10)) == times[10], "in the next segment"
    assert written_at(segments(log), behind(log, 2, 10)) is None
    assert newest_seq(segments(log)) == 30


def test_a_compressed_segment_counts_from_its_day(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=10, segments=3, days=1)
    for index in range(2):
        log.compress(index)
    day = dt.datetime.combine(log.names[0].day, dt.time(), dt.UTC)
    assert written_at(segments(log), Position()) == day
    assert written_at(segments(log), behind(log, 0, 5)) == day + dt.timedelta(days=1)
    last = parse_timestamp(log.headers[20].timestamp)
    assert written_at(segments(log), behind(log, 1, 10)) == last


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=10, segments=2)
    listed = segments(log)
    log.append_raw(b"half a line")
    assert written_at(segments(log), behind(log, 1, 10)) is None, "it has no end yet"
    for path in log.paths:
        path.unlink()
    assert written_at(listed, Position()) is None
    assert newest_seq(listed) is None
    assert newest_seq(()) is None


def test_the_last_record_is_known_and_whether_its_log_was_closed(tmp_path: Path) -> None:
    last = LastRecord()
    last.look(())
    assert (last.at, last.is_open) == (None, False)
    with auditlog.open(tmp_path, service="queen-rbee", host="hive1") as log:
        log.emit("task.done", details={"long": "x" * 20_000})
        (own,) = scan(tmp_path).logs.values()
        last.look(own)
        assert last.is_open
        assert last.at == [*auditlog.read(tmp_path, log_events=True)][-1].at
    last.look(own)  # the listing is as it was, the file is not
    assert not last.is_open
    assert last.at == [*auditlog.read(tmp_path, log_events=True)][-1].at
    own[0].path.unlink()
    last.look(own)
    assert last.at is not None, "what was known stays"


def test_the_last_record_of_a_compressed_or_empty_segment(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=10, segments=2)
    log.compress(0)
    log.paths[1].write_bytes(b"half a line")
    last = LastRecord()
    last.look(segments(log))
    assert last.at == parse_timestamp(log.headers[9].timestamp)
    assert last.is_open
