from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from auditctl.config.model import Config
from auditctl.config.sinks import SinkConfig, SqliteConfig
from auditctl.survey.survey import Survey, survey
from auditlog.cursors import Cursor, CursorStore
from auditlog.format.segment_names import SegmentName
from auditlog.writer.opening import ReservedService, open_log
from retention.holds import Hold, HoldStore
from retention.memory import RunStore
from retention.policy import RetentionPolicy
from tests.support.logs import START, LogBuilder, write_log
from tests.support.tombstones import tombstone_details

NOW = START + dt.timedelta(hours=3)
SINK = SqliteConfig("main", Path("/var/lib/sink.sqlite"))


def look(
    directory: Path, *, now: dt.datetime = NOW, sinks: tuple[SinkConfig, ...] = (SINK,)
) -> Survey:
    config = Config(directories=(directory,), sinks=sinks)
    return survey(config, config.directories, config.state_directory(), now)


def ship(built: LogBuilder, count: int, *, segment: int = -1, offset: int | None = None) -> None:
    """Write the cursor of a sink that has the first ``count`` records."""
    name = built.names[segment].logical
    if offset is None:
        offset = len(b"".join(built.lines[:count]))
    CursorStore(built.directory / ".auditlog").save(
        "main", Cursor(built.log, name, offset, count, built.headers[count - 1].hash, NOW)
    )


@pytest.fixture
def built(tmp_path: Path) -> LogBuilder:
    return write_log(tmp_path, records=10)


def test_healthy(built: LogBuilder) -> None:
    ship(built, 10)
    RunStore(built.directory / ".auditlog").save(
        built.directory, NOW, RetentionPolicy(), ["main"], {}
    )
    found = look(built.directory)
    assert found.all_problems == ()
    (log,) = found.logs
    assert (log.first_seq, log.last_seq, log.segments) == (1, 10, 1)
    assert log.last_record_at == START + dt.timedelta(seconds=9)
    assert [(sink.seq, sink.lag_records) for sink in log.sinks] == [(10, 0)]
    assert found.retention == ((built.directory, NOW),)
    assert found.to_json()["ok"] is True


def test_lag_is_no_problem_while_it_is_young(built: LogBuilder) -> None:
    ship(built, 7)
    found = look(built.directory, now=START + dt.timedelta(minutes=50))
    assert found.all_problems == ()
    (sink,) = found.logs[0].sinks
    assert (sink.seq, sink.lag_records) == (7, 3)
    assert sink.waiting_since == START + dt.timedelta(seconds=7)


def test_problems_a_sink_that_is_stuck(built: LogBuilder) -> None:
    ship(built, 7)
    (problem,) = look(built.directory).all_problems
    assert problem.startswith("queen-rbee@hive1: sink main is 3 records and 2 h behind")


def test_problems_a_sink_that_never_began(built: LogBuilder) -> None:
    (problem,) = look(built.directory).all_problems
    assert "sink main is 10 records" in problem


def test_problems_a_sink_that_stands_at_the_end_of_a_segment(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=5, segments=2)
    ship(built, 5, segment=0)
    built.compress(0)
    (sink,) = look(tmp_path).logs[0].sinks
    assert (sink.lag_records, sink.waiting_since) == (5, built_at(built, 6))


def built_at(built: LogBuilder, seq: int) -> dt.datetime:
    return dt.datetime.fromisoformat(built.headers[seq - 1].timestamp)


def test_problems_a_sink_ahead_of_the_files(built: LogBuilder) -> None:
    ship(built, 10)
    built.active.write_bytes(b"".join(built.lines[:4]))
    (problem,) = look(built.directory).all_problems
    assert "has records up to 10, the files end at 4" in problem


def test_problems_a_damaged_segment(built: LogBuilder) -> None:
    content = bytearray(built.active.read_bytes())
    content[-200] ^= 1
    built.active.write_bytes(content)
    (problem,) = look(built.directory, sinks=()).all_problems
    assert "run auditctl verify" in problem


def test_problems_a_cursor_that_cannot_be_read(built: LogBuilder) -> None:
    ship(built, 10)
    store = CursorStore(built.directory / ".auditlog")
    store.path("main", built.log).write_bytes(b"?")
    (problem,) = look(built.directory).all_problems
    assert "cursor" in problem


def test_problems_a_quarantine_that_is_not_empty(built: LogBuilder) -> None:
    ship(built, 10)
    quarantine = built.directory / ".auditlog/quarantine"
    quarantine.mkdir()
    (quarantine / "main.ndjson").write_bytes(b"{}\n{}\n")
    found = look(built.directory)
    assert found.quarantined == (("main", 2),)
    (problem,) = found.all_problems
    assert "2 records or alarms are in quarantine" in problem


def test_problems_a_retention_that_is_overdue(built: LogBuilder) -> None:
    ship(built, 10)
    store = RunStore(built.directory / ".auditlog")
    store.save(built.directory, NOW - dt.timedelta(days=3), RetentionPolicy(), ["main"], {})
    (problem,) = look(built.directory).all_problems
    assert "retention last ended well 3 d ago" in problem


def test_problems_a_retention_record_that_cannot_be_read(built: LogBuilder) -> None:
    ship(built, 10)
    (built.directory / ".auditlog/retention.json").write_bytes(b"{")
    (problem,) = look(built.directory).all_problems
    assert "retention.json" in problem


def test_a_log_that_was_just_opened_has_no_records_and_no_problem(tmp_path: Path) -> None:
    built = LogBuilder(tmp_path)
    built.append(1)
    built.active.write_bytes(b"")
    (log,) = look(tmp_path).logs
    assert (log.first_seq, log.last_seq, log.problems) == (None, None, ())


def test_without_configured_sinks_those_with_cursors_are_shown(built: LogBuilder) -> None:
    ship(built, 10)
    assert [sink.sink for sink in look(built.directory, sinks=()).logs[0].sinks] == ["main"]


def test_reads_only(built: LogBuilder) -> None:
    before = sorted(built.directory.rglob("*"))
    look(built.directory)
    assert sorted(built.directory.rglob("*")) == before


@pytest.mark.parametrize("shipped", [None, 2, 8, 15])
def test_partition(tmp_path: Path, shipped: int | None) -> None:
    built = write_log(tmp_path, records=3, segments=5, days=1)
    built.compress(0)
    built.compress(3, ".gz")
    if shipped is not None:
        ship(built, shipped, segment=(shipped - 1) // 3, offset=0)
    day = built.names[1].day.isoformat()
    begin = dt.datetime.fromisoformat(f"{day}T12:00:00Z")
    HoldStore(tmp_path / ".auditlog").add(
        Hold("case-1", "legal", "asked for", from_at=begin, until_at=begin + dt.timedelta(hours=1))
    )
    (log,) = look(tmp_path).logs
    assert sum(log.states.values()) == log.segments == 5
    assert log.states["active"] == log.states["held"] == 1
    assert log.states["not_shipped"] == {None: 3, 2: 3, 8: 2, 15: 0}[shipped]
    assert log.states["compressed"] + log.states["plain"] == {None: 0, 2: 0, 8: 1, 15: 3}[shipped]


def test_partition_of_segments_whose_part_numbers_have_five_digits(tmp_path: Path) -> None:
    """As text, part 9999 would come after part 10000."""
    built = write_log(tmp_path, records=3, segments=4)
    for index, name in enumerate(built.names):
        renamed = SegmentName(name.log, built.names[0].day, 9998 + index)
        (tmp_path / name.logical).rename(tmp_path / renamed.logical)
        built.names[index] = renamed
    ship(built, 8, segment=2, offset=0)
    (log,) = look(tmp_path).logs
    assert (log.states["active"], log.states["not_shipped"], log.states["plain"]) == (1, 1, 2)


def test_a_hold_that_ended_holds_nothing_and_a_broken_file_is_a_problem(tmp_path: Path) -> None:
    write_log(tmp_path, records=1, segments=2)
    store = HoldStore(tmp_path / ".auditlog")
    store.path.parent.mkdir(exist_ok=True)
    store.add(Hold("case-1", "legal", "asked for", expires_at=NOW - dt.timedelta(hours=1)))
    assert look(tmp_path).logs[0].states["held"] == 0
    store.path.write_bytes(b"?")
    assert any("holds.json" in problem for problem in look(tmp_path).problems)


@pytest.mark.parametrize(
    ("count", "step", "late", "per_minute"),
    [
        (50, 1, 0, 60.0),  # one a second
        (5000, 1, 0, 60.0),  # of which only the end is read
        (30, 60, 0, 1.0),
        (5, 1, 0, 0.5),  # too few to tell: 5 in ten minutes
        (50, 1, 3600, 0.0),  # none of late
    ],
)
def test_how_fast_a_log_grows(
    tmp_path: Path, count: int, step: int, late: int, per_minute: float
) -> None:
    built = write_log(tmp_path, records=count, step=dt.timedelta(seconds=step))
    (log,) = look(tmp_path, now=built.at + dt.timedelta(seconds=late)).logs
    assert log.per_minute == pytest.approx(per_minute, rel=0.1)


def test_when_retention_comes_next(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=1)
    ship(built, 1)
    RunStore(tmp_path / ".auditlog").save(tmp_path, NOW, RetentionPolicy(), (), {})
    found = look(tmp_path)
    ((_, last),) = found.retention
    assert found.next_retention(last) == NOW + dt.timedelta(days=1)
    assert found.to_json()["retention"][0]["next_at"] == "2026-11-24T10:12:00.000000Z"
    assert look(tmp_path, sinks=()).next_retention(last) is None


def test_missing(tmp_path: Path) -> None:
    """A part that was taken away, and the newest one; retention's own deletions are no problem."""
    built = write_log(tmp_path, records=3, segments=4)
    assert look(tmp_path, sinks=()).logs[0].problems == ()
    built.paths[1].unlink()
    (problem,) = look(tmp_path, sinks=()).logs[0].problems
    assert problem.startswith("part 2 of 2026-11-23 is gone and no tombstone says why")
    with open_log(tmp_path, service=ReservedService("retention"), host="hive1") as log:
        before, last = built.headers[2].hash, built.headers[5].hash
        details = tombstone_details(built.log, built.names[1].logical, 4, 6, before, last)
        log.emit("retention.segment_deleted", details=details)
    of_log = {state.log: state for state in look(tmp_path, sinks=()).logs}[built.log]
    assert of_log.problems == ()


def test_problems_of_a_state_directory_that_nobody_can_write_to(built: LogBuilder) -> None:
    config = Config(directories=(built.directory,), state_dir=Path("/proc"), sinks=(SINK,))
    found = survey(config, config.directories, config.state_directory(), NOW)
    assert any("/proc: its file system is full" in problem for problem in found.all_problems)


def test_problems_give_long_lags_in_days(built: LogBuilder) -> None:
    ship(built, 7)
    found = look(built.directory, now=START + dt.timedelta(days=200, hours=3))
    assert any("3 records and 200 d behind" in problem for problem in found.all_problems)
