"""Parsing tombstones: only valid ones prove a deletion."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.record import GENESIS_HASH, log_prefix, parse_header, seal
from auditlog.format.tombstones import (
    INDEX_DELETED,
    LOG_FORGOTTEN,
    SEGMENT_DELETED,
    ForgottenLog,
    IndexTombstone,
    Tombstone,
    by_log,
    parse_forgotten_log,
    parse_index_tombstone,
    parse_tombstone,
)
from tests.support.logs import make_line

DETAILS: dict[str, Any] = {
    "log": "queen-rbee@hive1",
    "segment": "queen-rbee@hive1.2026-08-01.0001.ndjson",
    "first_seq": 1,
    "last_seq": 500,
    "first_prev_hash": GENESIS_HASH,
    "last_hash": "ab" * 32,
    "records": 500,
    "bytes": 123_456,
}
INDEX: dict[str, Any] = {
    "sink": "main",
    "urls": ["http://a", "http://b"],
    "index": "llama-orch-audit-2026.08.01",
    "uuid": "u1",
}
NEEDED = ("log", "segment", "first_seq", "last_seq", "first_prev_hash", "last_hash")


def line_of(
    details: Any = DETAILS, log: str = "retention@hive1", event_type: str = SEGMENT_DELETED
) -> bytes:
    return make_line(log, 7, "cd" * 32, event_type=event_type, details=details)[0]


def parsed(line: bytes) -> Tombstone | None:
    header = parse_header(line)
    return None if header is None else parse_tombstone(header, line)


def test_a_tombstone_says_what_was_deleted() -> None:
    found = parsed(line_of())
    assert found is not None
    assert (found.log, found.first_seq, found.last_seq, found.records) == (
        "queen-rbee@hive1",
        1,
        500,
        500,
    )
    assert found.deleted_at.startswith("2026-11-23T")


def test_proven() -> None:
    line = line_of()
    for position in range(len(line)):
        changed = bytearray(line)
        changed[position] ^= 0x01
        assert parsed(bytes(changed)) is None, position


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("value", [None, True, [], {}, 1.5, "7", 7])
def test_complete(name: str, value: object) -> None:
    without = {key: content for key, content in DETAILS.items() if key != name}
    assert parsed(line_of(without)) is None
    is_number = name.endswith("_seq")
    wrong_type = not (type(value) is int if is_number else isinstance(value, str))
    assert (parsed(line_of({**DETAILS, name: value})) is None) == wrong_type


def index_parsed(details: Any, event_type: str = INDEX_DELETED) -> IndexTombstone | None:
    line = line_of(details, event_type=event_type)
    header = parse_header(line)
    assert header is not None
    return parse_index_tombstone(header, line)


def test_an_index_tombstone_says_which_index_was_deleted() -> None:
    found = IndexTombstone("main", ("http://a", "http://b"), "llama-orch-audit-2026.08.01", "u1")
    assert index_parsed(INDEX) == found
    assert index_parsed(INDEX, SEGMENT_DELETED) is None


@pytest.mark.parametrize("name", INDEX)
@pytest.mark.parametrize("value", [None, True, 7, [1]])
def test_complete_also_for_an_index(name: str, value: object) -> None:
    assert index_parsed({key: content for key, content in INDEX.items() if key != name}) is None
    assert index_parsed({**INDEX, name: value}) is None


def forgotten(details: Any, event_type: str = LOG_FORGOTTEN) -> ForgottenLog | None:
    line = line_of(details, event_type=event_type)
    header = parse_header(line)
    assert header is not None
    return parse_forgotten_log(header, line)


def test_the_retirement_of_a_log_says_which_and_up_to_where() -> None:
    found = {"log": "queen-rbee@hive1", "through_seq": 7}
    assert forgotten(found) == ForgottenLog("queen-rbee@hive1", 7)
    assert forgotten(found, SEGMENT_DELETED) is None


@pytest.mark.parametrize(
    "details",
    [{}, {"log": "a@b"}, {"through_seq": 7}, {"log": 1, "through_seq": 7},
     {"log": "a@b", "through_seq": "7"}, {"log": "a@b", "through_seq": True}],
)  # fmt: skip
def test_complete_also_for_a_retired_log(details: dict[str, Any]) -> None:
    assert forgotten(details) is None


@pytest.mark.parametrize(("first", "last"), [(0, 5), (-3, 5), (6, 5)])
def test_a_range_that_is_none_is_refused(first: int, last: int) -> None:
    assert parsed(line_of({**DETAILS, "first_seq": first, "last_seq": last})) is None
    with pytest.raises(ValueError, match="not a range"):
        Tombstone("a@b", first, last, "s", "", "", "")


def test_other_records_are_no_tombstones() -> None:
    assert parsed(line_of(event_type="task_submitted")) is None
    assert parsed(line_of(log="queen-rbee@hive1")) is None, "only retention buries"
    assert parsed(line_of([1, 2])) is None


def test_an_intact_line_that_is_not_json_is_no_tombstone_and_no_crash() -> None:
    body = f'"event_type":"{SEGMENT_DELETED}","details":{{'.encode()
    at = "2026-11-23T07:12:00.000000Z"
    line, _ = seal(log_prefix("retention@hive1"), 1, GENESIS_HASH, at, body)
    assert parse_header(line) is not None
    assert parsed(line) is None


@given(
    st.lists(
        st.builds(
            lambda log, first, length: Tombstone(
                log, first, first + length, "s", "a" * 64, "b" * 64, ""
            ),
            st.sampled_from(["a@b", "c@d"]),
            st.integers(1, 50),
            st.integers(0, 50),
        )
    )
)
def test_grouped_by_log_in_the_order_of_its_records_each_once(found: list[Tombstone]) -> None:
    grouped = by_log([*found, *found])
    assert {tombstone for group in grouped.values() for tombstone in group} == set(found)
    for log, group in grouped.items():
        assert all(tombstone.log == log for tombstone in group)
        assert [tombstone.first_seq for tombstone in group] == sorted(
            tombstone.first_seq for tombstone in group
        )
        assert len(set(group)) == len(group)
