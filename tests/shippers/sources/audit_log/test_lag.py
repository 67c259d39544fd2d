from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from auditlog.format.record import parse_timestamp
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import scan
from shippers.batch import Position
from shippers.sources.audit_log.lag import newest_seq, written_at
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
