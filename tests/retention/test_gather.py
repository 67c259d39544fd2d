"""Gathering the facts."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from auditlog.cursors import Cursor, CursorStore
from auditlog.format.segment_names import LogId
from retention import gather as gathering
from retention.gather import gather
from retention.holds import Hold
from retention.policy import RetentionPolicy
from retention.subjects import DirectoryFacts, SinkCursors
from tests.support.logs import START, LogBuilder, write_log

LOG = LogId("queen-rbee", "hive1")
DAY = dt.timedelta(days=1)
LATER = START + 500 * DAY


def look(
    built: LogBuilder,
    *sinks: str,
    now: dt.datetime = LATER,
    policy: RetentionPolicy | None = None,
    holds: tuple[Hold, ...] = (),
) -> tuple[DirectoryFacts, SinkCursors]:
    state = built.directory / ".auditlog"
    return gather(
        built.directory,
        policy or RetentionPolicy(),
        sinks=sinks,
        state_dir=state,
        holds=holds,
        now=now,
    )


def cursor_after(built: LogBuilder, records: int) -> Cursor:
    """The cursor of a sink that acknowledged so many records; ten are in each segment."""
    name = built.names[(records - 1) // 10]
    first = (records - 1) // 10 * 10
    offset = sum(len(line) for line in built.lines[first:records])
    header = built.headers[records - 1]
    return Cursor(built.log, name.logical, offset, header.seq, header.hash, START)


def save(built: LogBuilder, cursor: Cursor) -> None:
    CursorStore(built.directory / ".auditlog").save("main", cursor)


def test_every_segment_and_every_foreign_file_is_told_of(daily: LogBuilder) -> None:
    daily.compress(1)
    daily.compress(2, ".gz", keep_plain=True)
    write_log(daily.directory, "rbee-hive@gpu-1.example.org+2")
    (daily.directory / "readme.txt").write_text("hello")
    facts, gate = look(daily)
    assert [str(log) for log in facts.segments] == [daily.log, "rbee-hive@gpu-1.example.org+2"]
    assert [found.file.forms for found in facts.segments[LOG][:4]] == [
        ("",),
        (".zst",),
        ("", ".gz"),
        ("",),
    ]
    ends = [found.bounds for found in facts.segments[LOG] if found.bounds is not None]
    assert [bounds.last_seq for bounds in ends] == list(range(10, 101, 10))
    assert [(file.path.name, file.size_bytes) for file in facts.foreign] == [("readme.txt", 5)]
    assert gate == SinkCursors()


@pytest.mark.parametrize(
    ("content", "damage"),
    [(b"", "no whole record"), (b"x\n", "not a record"), (b'{"v":1', "no whole record")],
)
def test_doubt(daily: LogBuilder, content: bytes, damage: str) -> None:
    daily.paths[0].write_bytes(content)
    daily.compress(1).write_bytes(b"no zstandard frame")
    save(daily, cursor_after(daily, 50))
    for name in ("cursor", "cursor.prev"):
        path = daily.directory / ".auditlog/cursors/main" / f"{daily.log}.{name}"
        path.write_bytes(b"rubbish")
    facts, gate = look(daily, "main")
    assert damage in facts.segments[LOG][0].damage
    assert "cannot be decompressed" in facts.segments[LOG][1].damage
    assert "damaged cursor" in gate.cursor("main", LOG).problem


def test_a_segment_that_cannot_be_opened_is_damage(daily: LogBuilder) -> None:
    daily.paths[0].unlink()
    daily.paths[0].mkdir()
    daily.paths[1].unlink()
    daily.paths[1].symlink_to("nowhere")
    facts, _ = look(daily)
    assert len(facts.segments[LOG]) == 8  # a directory and a symlink are foreign
    assert len(facts.foreign) == 2


@pytest.mark.parametrize("records", [1, 10, 11, 55, 100])
@pytest.mark.parametrize("form", ["", ".zst", ".gz"])
def test_a_cursor_at_a_record_that_is_there_is_believed(
    daily: LogBuilder, records: int, form: str
) -> None:
    if form:
        daily.compress((records - 1) // 10, form)
    save(daily, cursor_after(daily, records))
    _, gate = look(daily, "main")
    assert gate.cursor("main", LOG).problem == ""


@pytest.mark.parametrize("form", ["", ".zst", ".gz"])
def test_not_here(daily: LogBuilder, form: str) -> None:
    good = cursor_after(daily, 55)
    if form:
        daily.compress(5, form)
    for wrong in (
        replace(good, seq=54),
        replace(good, hash="f" * 64),
        replace(good, offset=good.offset + 1),
        replace(good, offset=10**9),
        replace(good, offset=0),
        replace(good, segment=daily.names[4].logical),
        replace(good, segment="queen-rbee@hive1.2027-01-01.0001.ndjson"),
    ):
        save(daily, wrong)
        _, gate = look(daily, "main")
        assert gate.cursor("main", LOG).problem, wrong


def test_frugal(daily: LogBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_BUDGET_BYTES", 0)
    now = START + 33 * DAY  # three are due for compression
    facts, _ = look(daily, now=now)
    read = [found.bounds is not None for found in facts.segments[LOG]]
    assert read == [True, True, True, True, True, False, False, False, False, True]
    facts, _ = look(daily, "main", now=now)  # nothing was shipped, so nothing is due
    read = [found.bounds is not None for found in facts.segments[LOG]]
    assert read == [False] * 9 + [True]


def test_within_the_budget_everything_is_read(daily: LogBuilder) -> None:
    facts, _ = look(daily, now=START)
    assert [found.bounds is not None for found in facts.segments[LOG]] == [True] * 10


def test_searched(daily: LogBuilder) -> None:
    """Only what would be touched otherwise is searched, for the holds that reach it."""
    now = START + 33 * DAY  # three are due for compression
    hold = Hold("x", "legal", "audit", actor="alice")
    elsewhere = Hold("y", "legal", "audit", "rbee-hive@*", actor="alice")
    facts, _ = look(daily, now=now, holds=(hold, elsewhere))
    matches = [found.matches for found in facts.segments[LOG]]
    assert matches == [frozenset("x")] * 3 + [None] * 7


def test_for_its_size_the_oldest_are_read_until_that_would_do(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "_BUDGET_BYTES", 0)
    size = daily.paths[0].stat().st_size
    hold = Hold("x", "legal", "audit", actor="alice")
    policy = RetentionPolicy(max_total_bytes=daily.paths[0].stat().st_size * 8)
    facts, _ = look(daily, now=START + 10 * DAY, policy=policy, holds=(hold,))
    read = [found.bounds is not None for found in facts.segments[LOG]]
    total = sum(path.stat().st_size for path in daily.paths)
    enough = -(-(total - size * 8) // size) + 1
    assert read == [True] * enough + [False] * (9 - enough) + [True]
    assert facts.segments[LOG][0].matches == frozenset("x")
