"""The subjects of retention."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from auditlog.format.segment_names import LogId
from retention.policy import ForeignPolicy, RetentionPolicy
from retention.subjects import (
    AdoptedFile,
    ForeignFile,
    Index,
    SinkCursor,
    SinkCursors,
)
from tests.support.foreign import content_at
from tests.support.retention_facts import DAY, LOG, START, cursor_at, segment

SECOND = dt.timedelta(seconds=1)
END_OF_DAY = START + DAY - dt.timedelta(microseconds=1)
ADOPTER = ForeignPolicy("*.ndjson", RetentionPolicy(), "not_required")


def adopted(name: str = "old.ndjson", **fields: object) -> AdoptedFile:
    given = {"forms": ("",), "size_bytes": 7, "foreign": ADOPTER, "modified_at": START, **fields}
    return AdoptedFile(Path("audit") / name, **given)  # type: ignore[arg-type]  # by name


def test_a_segment_names_its_log_itself_and_its_size() -> None:
    found = segment(0, forms=("", ".zst"))
    assert (found.log, found.name, found.size_bytes, found.records) == (
        str(LOG),
        "queen-rbee@hive1.2026-08-01.0001.ndjson",
        100,
        10,
    )
    assert found.forms == ("", ".zst")
    assert (found.begins_at, found.ends_at) == (START, END_OF_DAY)
    names, measures = found.to_json()
    assert names == {"log": str(LOG), "segment": found.name}
    assert measures == {
        "bytes": 100,
        "records": 10,
        "last_record_at": "2026-08-01T12:00:00.000000Z",
    }


def test_a_segment_that_was_not_read_covers_its_day_and_has_no_last_record() -> None:
    found = segment(0, damage="torn")
    assert (found.records, found.last_record_at) == (None, None)
    assert found.span == (START, END_OF_DAY)
    assert found.to_json()[1] == {"bytes": 100, "records": None, "last_record_at": None}


@pytest.mark.parametrize(
    ("last_at", "counted", "ends"),
    [
        (START + DAY / 2, START + DAY / 2, END_OF_DAY),
        (START - SECOND, START, END_OF_DAY),
        (START + DAY + SECOND, START + DAY + SECOND, START + DAY + SECOND),
    ],
)
def test_a_clock_that_was_set_makes_no_segment_older_and_its_span_no_shorter(
    last_at: dt.datetime, counted: dt.datetime, ends: dt.datetime
) -> None:
    found = segment(0, last_at=last_at)
    assert found.last_record_at == counted
    assert found.span == (START, ends)


def test_a_span_begins_with_a_first_record_that_is_before_its_day() -> None:
    found = segment(0)
    assert found.bounds is not None
    early = replace(found, bounds=replace(found.bounds, first_at=START - SECOND))
    assert early.span == (START - SECOND, END_OF_DAY)


def test_the_oldest_come_first_by_day_then_by_log_then_by_part() -> None:
    other = LogId("auth", "hive1")
    ordered = [
        segment(0, log=other, part=2),
        segment(0, part=1),
        segment(0, part=2),
        segment(0, part=10_000),
        segment(1, log=other),
    ]
    shuffled = [*ordered[3:], *ordered[:3]]
    assert sorted(shuffled, key=lambda found: found.age_order) == ordered


def test_other_files_have_a_name_and_a_size_alone() -> None:
    found = ForeignFile(Path("audit/notes.txt"), 7)
    assert (found.name, found.log, found.forms) == ("notes.txt", "", ())
    assert found.to_json() == (
        {"log": None, "segment": "notes.txt"},
        {"bytes": 7, "records": None, "last_record_at": None},
    )


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({}, START),
        ({"seen_at": START + DAY}, START + DAY),
        ({"content": content_at(START - DAY)}, START - DAY),
        ({"content": replace(content_at(START), last_at=None)}, START),
        ({"content": content_at(START - DAY, untimed=1)}, START),
        ({"content": content_at(START + DAY, untimed=1)}, START + DAY),
    ],
)
def test_the_age_of_an_adopted_file_counts_from_the_newest_time_in_it(
    fields: dict[str, object], counted: dt.datetime
) -> None:
    assert adopted(**fields).counted_from == counted
    assert adopted(**fields).last_record_at == counted
    assert adopted(**fields, damage="torn").last_record_at is None


def test_an_adopted_file_is_described_with_its_pattern() -> None:
    found = adopted("old.ndjson.gz", forms=(".gz",), content=content_at(START))
    assert (found.name, found.log, found.records) == ("old.ndjson.gz", "", 3)
    assert found.plain == Path("audit/old.ndjson")
    assert found.form_path(".zst") == Path("audit/old.ndjson.zst")
    assert found.age_order == ("2026-08-01", "old.ndjson", 0)
    names, measures = found.to_json()
    assert names == {"log": None, "segment": "old.ndjson.gz"}
    assert measures == {
        "bytes": 7,
        "records": 3,
        "last_record_at": "2026-08-01T00:00:00.000000Z",
        "pattern": "*.ndjson",
    }
    assert (adopted().records, adopted().open_for_writing) == (None, False)


def test_an_index_covers_its_day() -> None:
    found = Index("audit-2026.08.01", "u1", 12, 700, START.date())
    assert (found.log, found.forms) == ("", ())
    assert (found.begins_at, found.ends_at) == (START, END_OF_DAY)
    assert found.to_json() == (
        {"index": "audit-2026.08.01", "day": "2026-08-01"},
        {"documents": 12, "bytes": 700, "uuid": "u1"},
    )


def test_an_index_that_is_not_daily_is_never_old() -> None:
    found = Index("other", "u1", 0, 0)
    assert found.begins_at == dt.datetime.combine(dt.date.max, dt.time(), dt.UTC)
    assert found.ends_at == dt.datetime.combine(dt.date.max, dt.time.max, dt.UTC)
    assert found.to_json()[0] == {"index": "other", "day": None}


def test_a_sink_without_a_cursor_acknowledged_nothing() -> None:
    known = SinkCursor(cursor_at(segment(0), 5))
    cursors = SinkCursors(("main",), {("main", LOG): known})
    assert cursors.cursor("main", LOG) is known
    assert cursors.cursor("other", LOG) == SinkCursor(None, "")
