from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.format.record import parse_header
from auditlog.query.files import FileSearch
from auditlog.query.scope import SearchScope
from auditlog.query.syntax import All, Query, parse
from auditlog.reading.follow import Follower
from tests.support.logs import START, LogBuilder, write_log
from tests.support.questions import bodies, naive, queries

if TYPE_CHECKING:
    from pathlib import Path

    from auditlog.format.record import Record
    from auditlog.query.files import Trouble

Told = list[tuple[str, int, str]]


def nobody(*told: object) -> None:
    raise AssertionError(told)


def source(*directories: Path, told: Told | None = None) -> FileSearch:
    tell: Trouble = nobody if told is None else lambda *what: told.append(what)
    return FileSearch(directories, tell)


def ids(records: list[Record]) -> list[str]:
    return [f"{record.log}#{record.seq}" for record in records]


LOGS = ("queen-rbee@hive1", "rbee-hive@gpu1", "rbee-hive@gpu2")
logs = st.lists(
    st.tuples(
        st.lists(st.lists(bodies, min_size=1, max_size=4), min_size=1, max_size=3),  # segments
        st.sampled_from(["", ".zst", ".gz"]),
        st.sampled_from([1, 700, 40_000]),  # seconds between two records
    ),
    min_size=1,
    max_size=3,
)


@st.composite
def _scopes(draw: st.DrawFn) -> SearchScope:
    begin, length = draw(st.integers(0, 90_000)), draw(st.integers(1, 200_000))
    since = START + dt.timedelta(seconds=begin) if draw(st.booleans()) else None
    until = START + dt.timedelta(seconds=begin + length) if draw(st.booleans()) else None
    return SearchScope(draw(st.sampled_from(["*", "rbee-*", "*@hive1"])), since, until)


scopes = _scopes()


def build(directory: Path, drawn: list[tuple[list[list[dict[str, Any]]], str, int]]) -> list[bytes]:
    """Write the logs, compressed but for the newest segment; returns every line."""
    lines: list[bytes] = []
    for name, (segments, form, seconds) in zip(LOGS, drawn, strict=False):
        built = LogBuilder(directory, name, step=dt.timedelta(seconds=seconds))
        for index, segment in enumerate(segments):
            if index:
                built.rotate()
            for body in segment:
                built.append(1, **body)
        for index in range(len(built.names) - 1):
            if form:
                built.compress(index, form)
        if form and seconds == 1:
            built.compress(len(built.names) - 1, form)
        lines += built.lines
    return lines


def order(line: bytes) -> tuple[str, str, int]:
    header = parse_header(line)
    assert header is not None
    return header.timestamp, header.log, header.seq


@settings(max_examples=100)
@given(
    drawn=logs,
    query=st.just(All()) | queries,
    scope=st.just(SearchScope()) | scopes,
    reverse=st.booleans(),
)
def test_naive(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: Any,
    query: Query,
    scope: SearchScope,
    reverse: bool,
) -> None:
    directory = tmp_path_factory.mktemp("logs")
    lines = build(directory, drawn)
    expected = sorted(
        (
            line
            for line in lines
            if naive(query, line)
            and scope.has_log(order(line)[1])
            and scope.since <= order(line)[0] < scope.until
        ),
        key=order,
        reverse=reverse,
    )
    found = [record.line for record in source(directory).records(query, scope, reverse=reverse)]
    assert found == expected


def test_naive_of_a_query_that_was_parsed(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=20, segments=3, days=1)
    built.compress(0)
    built.compress(1, ".gz")
    expected = [f"queen-rbee@hive1#{seq}" for seq in (5, 15, 25, 35, 45, 55)]
    query = parse("details.task_id~5$ actor=alice")
    assert ids([*source(tmp_path).records(query, SearchScope())]) == expected
    assert ids([*source(tmp_path).records(query, SearchScope(), reverse=True)]) == expected[::-1]


@pytest.mark.parametrize("form", ["", ".zst", ".gz"])
@pytest.mark.parametrize("reverse", [False, True])
def test_naive_at_both_ends_of_a_range(tmp_path: Path, form: str, reverse: bool) -> None:
    """The record of the first instant is in it, that of the last is not."""
    built = write_log(tmp_path, records=5, step=dt.timedelta(seconds=1))
    if form:
        built.compress(0, form)
    first, second, _, fourth, _ = (
        dt.datetime.fromisoformat(order(line)[0]) for line in built.lines
    )
    instant = dt.timedelta(microseconds=1)
    for since, until, expected in (
        (second, fourth, [2, 3]),
        (second, fourth + instant, [2, 3, 4]),
        (second + instant, fourth, [3]),
        (first, first + instant, [1]),
        (None, second, [1]),
        (fourth, None, [4, 5]),
    ):
        found = source(tmp_path).records(parse(""), SearchScope("*", since, until), reverse=reverse)
        assert [record.seq for record in found] == (expected[::-1] if reverse else expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_naive_where_a_range_ends_at_midnight(tmp_path: Path, reverse: bool) -> None:
    day, instant = dt.timedelta(days=1), dt.timedelta(microseconds=1)
    midnight = START.replace(hour=0, minute=0) + day
    LogBuilder(tmp_path, at=midnight - instant, step=instant).append(2)
    for scope, expected in (
        (SearchScope("*", midnight - day, midnight), [1]),
        (SearchScope("*", midnight, midnight + day), [2]),
    ):
        found = source(tmp_path).records(parse(""), scope, reverse=reverse)
        assert [record.seq for record in found] == expected


@pytest.mark.parametrize("reverse", [False, True])
def test_skipped(tmp_path: Path, reverse: bool) -> None:
    """Segments of other days and logs are full of what would be told, were they opened."""
    built = write_log(tmp_path, records=2, segments=3, days=1)
    other = write_log(tmp_path, "rbee-hive@gpu1", records=1)
    for path in (built.paths[0], built.paths[2], other.active):
        path.write_bytes(b"no record\n" * 10)
    day = SearchScope("queen-*", START + dt.timedelta(hours=20), START + dt.timedelta(hours=40))
    assert ids([*source(tmp_path).records(parse(""), day, reverse=reverse)]) == [
        f"queen-rbee@hive1#{seq}" for seq in ((4, 3) if reverse else (3, 4))
    ]


@pytest.mark.parametrize("reverse", [False, True])
def test_early(tmp_path: Path, reverse: bool) -> None:
    """The first answer is there although the other log's day is long and goes on with nonsense."""
    write_log(tmp_path, records=1, at=START + dt.timedelta(hours=2.4 if reverse else 0))
    long = LogBuilder(tmp_path, "rbee-hive@gpu1", at=START + dt.timedelta(seconds=1))
    long.append(9000, details={"text": "x" * 300})
    content = long.active.read_bytes()
    half = content.index(b"\n", len(content) // 2) + 1
    nonsense = b"no record\n"
    long.active.write_bytes(nonsense + content[half:] if reverse else content[:half] + nonsense)
    told: Told = []
    look = source(tmp_path, told=told)
    found = look.records(parse("not log=rbee-hive@gpu1"), SearchScope(), reverse=reverse)
    assert next(found).log == "queen-rbee@hive1"
    assert told == []
    assert [*found] == []
    assert [what[0] for what in told] == [long.active.name]


@pytest.mark.parametrize("form", [".zst", ".gz"])
def test_early_backwards_in_a_compressed_segment(tmp_path: Path, form: str) -> None:
    """A search for the newest few does not decompress the other segments."""
    built = LogBuilder(tmp_path)
    built.append(4000, details={"text": "x" * 1000})
    path = built.compress(0, form)
    look = source(tmp_path)
    assert [record.seq for record in look.records(parse(""), SearchScope(), reverse=True)] == [
        *range(4000, 0, -1)
    ]
    found = look.records(parse(""), SearchScope(), reverse=True)
    assert next(found).seq == 4000
    path.unlink()
    rest = [record.seq for record in found]
    assert 1000 < len(rest) < 3000
    assert rest == [*range(3999, 3999 - len(rest), -1)]


@pytest.mark.parametrize("reverse", [False, True])
def test_told(tmp_path: Path, reverse: bool) -> None:
    built = write_log(tmp_path, records=1)
    offset = built.active.stat().st_size
    built.append_raw(b"not a record\n")
    built.append(1)
    (line,) = built.make(1)
    built.append_raw(line[:50])  # being written
    told: Told = []
    found = [*source(tmp_path, told=told).records(parse(""), SearchScope(), reverse=reverse)]
    assert sorted(record.seq for record in found) == [1, 2]
    assert told == [(built.active.name, offset, "the line is not a record")]


@pytest.mark.parametrize("reverse", [False, True])
def test_told_where_a_compressed_segment_is_cut_off(tmp_path: Path, reverse: bool) -> None:
    built = write_log(tmp_path, records=3000, segments=2)
    path = built.compress(0)
    path.write_bytes(path.read_bytes()[:-100])
    told: Told = []
    found = [*source(tmp_path, told=told).records(parse(""), SearchScope(), reverse=reverse)]
    assert {record.seq for record in found} >= set(range(3001, 6001))
    assert [(segment, "decompressed" in reason) for segment, _, reason in told] == [
        (built.names[0].logical, True)
    ]


def test_a_clock_that_was_set_back_leaves_a_log_in_its_own_order(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=3)
    built.at -= dt.timedelta(minutes=5)
    built.append(2)
    write_log(tmp_path, "rbee-hive@gpu1", records=4)
    for reverse in (False, True):
        found = [*source(tmp_path).records(parse(""), SearchScope(), reverse=reverse)]
        numbers = [record.seq for record in found if record.log == "queen-rbee@hive1"]
        assert numbers == [1, 2, 3, 4, 5][:: -1 if reverse else 1]
        assert len(found) == 9


@pytest.mark.parametrize("form", ["", ".zst"])
@pytest.mark.parametrize("reverse", [False, True])
def test_reading_ends_where_a_follower_goes_on(tmp_path: Path, form: str, reverse: bool) -> None:
    built = write_log(tmp_path, records=3, segments=2)
    follower = Follower([tmp_path], lambda *_: None)
    follower.newest(0)
    bounded = FileSearch([tmp_path], nobody, follower.positions)
    built.append(2)
    built.rotate()
    built.append(1)
    write_log(tmp_path, "rbee-hive@gpu1", records=1)
    if form:
        built.compress(1, form)
    found = [*bounded.records(parse(""), SearchScope(), reverse=reverse)]
    assert sorted(record.seq for record in found) == [1, 2, 3, 4, 5, 6]
    assert ids(follower.poll()) == [
        "rbee-hive@gpu1#1",
        *(f"queen-rbee@hive1#{seq}" for seq in (7, 8, 9)),
    ]
