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
    tombstone_problem,
)
from tests.support.logs import make_line
from tests.support.tombstones import tombstone_details

DETAILS = tombstone_details("queen-rbee@hive1", "queen-rbee@hive1.2026-08-01.0001.ndjson", 1, 500)
INDEX: dict[str, Any] = {
    "sink": "main",
    "urls": ["http://a", "http://b"],
    "index": "llama-orch-audit-2026.08.01",
    "uuid": "u1",
}
MORE = ("records", "bytes", "sha256", "last_record_at", "cursor", "policy", "by")
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
    assert parsed(line_of({**DETAILS, name: value})) is None


OLD = {name: DETAILS[name] for name in (*NEEDED, *MORE)}
"""A tombstone as the first version wrote it."""


def problem(details: Any) -> str:
    line = line_of(details)
    header = parse_header(line)
    assert header is not None
    found = tombstone_problem(header, line)
    assert (parsed(line) is None) == bool(found)
    return found


@pytest.mark.parametrize("name", sorted(DETAILS))
def test_complete_in_every_field(name: str) -> None:
    without = {key: content for key, content in DETAILS.items() if key != name}
    assert problem(without) == f"it does not say {name}"


ALLOWED: list[dict[str, Any]] = [
    {},
    {"by": "alice", "confirmed": True},
    {"by": "alice", "simulated": True, "at": "2027-11-01T12:00:00.000000Z"},
    {"rule": "size", "max_total_bytes": 1 << 30, "last_record_at": "2026-10-31T12:00:00.000000Z"},
    {"cursor": {}},
    {"first_seq": 4, "last_seq": 4, "records": 1, "first_prev_hash": "ef" * 32},
]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"segment": "rbee-hive@hive1.2026-08-01.0001.ndjson"}, "its segment is of another log"),
    ({"segment": "queen-rbee.ndjson"}, "its segment is not the name of one"),
    ({"log": "rbee-hive@hive1"}, "its segment is of another log"),
    ({"first_seq": 2}, "its first record does not begin the log"),
    ({"first_prev_hash": "ef" * 32}, "its first record does not begin the log"),
    ({"last_seq": 501}, "its number of records is not of its range"),
    ({"records": 499}, "its number of records is not of its range"),
    ({"bytes": 20}, "its size is impossible"),
    ({"sha256": "x"}, "a hash is malformed"),
    ({"last_hash": "AB" * 32}, "a hash is malformed"),
    ({"by": ""}, "it names nobody"),
    ({"cursor": {"main": 499}}, "sink main had not acknowledged record 500"),
    ({"cursor": [["main", 500]]}, "a field has no meaning"),
    ({"last_record_at": "2026-09-01T12:00:00.000000Z"}, "its last record was 61 d old"),
    ({"at": "2026-06-01T12:00:00.000000Z"}, "its last record was 31 d old"),
    ({"at": "2027-06-01T12:00:00.000000Z"}, "its run was later than itself"),
    ({"policy": {**DETAILS["policy"], "delete_after": "400d"}}, "its last record was 184 d old"),
    ({"policy": {**DETAILS["policy"], "delete_after": "0d"}}, "its policy is none"),
    ({"policy": {"delete_after": "90d"}}, "it does not say compress_after"),
    ({"policy": "strict"}, "a field has no meaning"),
    ({"rule": "mercy"}, "no rule allowed it"),
    ({"rule": "size"}, "its rule is not of its policy"),
    ({"max_total_bytes": 5}, "its rule is not of its policy"),
    ({"rule": "size", "max_total_bytes": 0}, "its limit of bytes is none"),
    ({"confirmed": True}, "it does not name who confirmed it"),
    ({"simulated": True}, "it does not name who confirmed it"),
    ({"confirmed": "no"}, "what a person confirmed is unclear"),
    ({"tree": {"first_index": 1, "size": 500}}, "its range of the tree is not that of its records"),
    (
        {"tree": {"first_index": 0, "size": 500, "leaves_sha256": "ab" * 32, "nodes": ["ab"]}},
        "a hash is malformed",
    ),
]


@pytest.mark.parametrize("change", ALLOWED)
def test_allowed(change: dict[str, Any]) -> None:
    assert problem({**DETAILS, **change}) == ""


@pytest.mark.parametrize(("change", "reason"), REFUSED)
def test_allowed_is_nothing_else(change: dict[str, Any], reason: str) -> None:
    assert problem({**DETAILS, **change}).startswith(reason)


def test_allowed_is_a_tombstone_of_the_first_version() -> None:
    """It does not say whether a person gave the instant, so that a person's name is enough."""
    young = {"last_record_at": "2026-11-20T12:00:00.000000Z"}
    assert problem(OLD) == ""
    assert problem(OLD | young).startswith("its last record was 2 d old")
    assert problem(OLD | young | {"by": "alice"}) == ""
    room = {"policy": {**DETAILS["policy"], "max_total_bytes": 1 << 30}}
    assert problem(OLD | young | room) == ""


def test_allowed_says_nothing_of_other_records() -> None:
    line = line_of({}, event_type="retention.hold_added")
    header = parse_header(line)
    assert header is not None
    assert tombstone_problem(header, line) == ""


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
