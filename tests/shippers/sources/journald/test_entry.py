from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shippers.item import Document
from shippers.sources.journald.entry import to_document

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
LEAST = {"__CURSOR": "s=1;i=2", "__REALTIME_TIMESTAMP": "1795000000000000"}

texts = st.text(max_size=6)
values = st.one_of(
    texts,
    st.none(),
    st.lists(st.integers(0, 255), max_size=6),
    st.lists(texts | st.lists(st.integers(0, 255), max_size=3), max_size=3),
)
names = st.from_regex(r"_?[A-Z][A-Z0-9_]{0,6}", fullmatch=True) | st.sampled_from(
    ["MESSAGE", "PRIORITY", "_PID", "CODE_LINE", "CODE_FILE", "_HOSTNAME", "_BOOT_ID", "_UID"]
)


def document(entry: dict[str, Any]) -> tuple[Document, Any]:
    made, cursor, good = to_document(orjson.dumps(entry) + b"\n", "journal", NOW)
    assert good
    assert cursor == entry["__CURSOR"]
    return made, orjson.loads(made.line)


@given(line=st.binary(max_size=40))
def test_never_lost(line: bytes) -> None:
    """never_lost: any line whatever gives a document that is valid JSON"""
    made, cursor, good = to_document(line + b"\n", "journal", NOW)
    assert (cursor, good) == (None, False)
    assert orjson.loads(made.line)["auditlog"]["source"]["error"]["type"] == "journal"


@given(entry=st.dictionaries(names, values, max_size=5))
def test_identity(entry: dict[str, Any]) -> None:
    """identity: the id depends on the source and __CURSOR alone"""
    assert document({**entry, **LEAST})[0].id == document(LEAST)[0].id
    assert document({**LEAST, "__CURSOR": "s=1;i=3"})[0].id != document(LEAST)[0].id
    other, _, _ = to_document(orjson.dumps(LEAST), "other", NOW)
    assert other.id != document(LEAST)[0].id


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


@given(entry=st.dictionaries(names, texts, max_size=6))
def test_all_fields(entry: dict[str, str]) -> None:
    """all_fields: each field of an entry is somewhere in its document"""
    _, found = document({**entry, **LEAST})
    there = leaves(found)
    for value in entry.values():
        assert value in there or int(value) in there


def test_what_is_too_large_is_named() -> None:
    _, found = document({**LEAST, "MESSAGE": None, "B": None})
    assert found["auditlog"]["source"]["error"] == {
        "type": "field_too_large",
        "message": "journalctl left out B, MESSAGE",
    }


def test_bytes_that_are_no_text_are_shown_one_by_one() -> None:
    _, found = document({**LEAST, "MESSAGE": [104, 105, 0, 255], "OTHER": [104, 256]})
    assert found["message"] == "hi\x00\\xff"
    assert found["journald"]["custom"] == {"other": ["104", "256"]}


@pytest.mark.parametrize("at", ["", "x", "1e5", "9" * 18, "9" * 30, None, 5])
def test_an_impossible_time_is_that_of_reading(at: Any) -> None:
    made, _ = document({**LEAST, "__REALTIME_TIMESTAMP": at})
    assert made.at == "2026-11-23T12:00:00.000000Z"


def test_fields_that_differ_in_underscores_alone_are_both_there() -> None:
    _, found = document({**LEAST, "X": "1", "_X": ["2", "3"], "__X": "4"})
    assert found["journald"]["custom"] == {"x": ["1", ["2", "3"], "4"]}


@pytest.mark.parametrize(
    ("priority", "level"),
    [("0", "emergency"), ("3", "error"), ("6", "info"), ("7", "debug")],
)
def test_a_priority_gives_the_level_its_name(priority: str, level: str) -> None:
    _, found = document({**LEAST, "PRIORITY": priority})
    assert found["log"] == {
        "syslog": {"severity": {"code": int(priority), "name": level}},
        "level": level,
    }


@pytest.mark.parametrize("priority", ["8", "-1", "07", "", ["1", "2"]])
def test_what_is_no_priority_is_a_field_as_any_other(priority: Any) -> None:
    _, found = document({**LEAST, "PRIORITY": priority})
    assert found["journald"]["custom"] == {"priority": priority}
    assert "log" not in found


@pytest.mark.parametrize(("number", "code"), [("0", 0), ("9" * 18, 10**18 - 1)])
def test_a_number_is_a_number_in_the_document(number: str, code: int) -> None:
    _, found = document({**LEAST, "_PID": number})
    assert found["process"] == {"pid": code}


@pytest.mark.parametrize("number", ["", "-1", "\u0661", "9" * 19, ["1", "2"]])
def test_what_is_no_number_of_18_digits_is_a_field_as_any_other(number: Any) -> None:
    _, found = document({**LEAST, "_PID": number})
    assert found["journald"]["custom"] == {"pid": number}
    assert "process" not in found


def test_the_time_is_the_entry_s_own_to_the_microsecond() -> None:
    made, found = document({**LEAST, "__REALTIME_TIMESTAMP": "1"})
    assert made.at == found["@timestamp"] == "1970-01-01T00:00:00.000001Z"
    assert found["journald"] == {"cursor": "s=1;i=2", "realtime_timestamp": "1"}


def test_the_host_has_its_name_twice() -> None:
    _, found = document({**LEAST, "_HOSTNAME": "hive1"})
    assert found["host"] == {"hostname": "hive1", "name": "hive1"}
    _, found = document({**LEAST, "_HOSTNAME": ["hive1", "hive2"]})
    assert found["host"] == {"hostname": ["hive1", "hive2"]}


def test_a_line_that_is_no_entry_is_the_message() -> None:
    made, cursor, good = to_document(b'{"MESSAGE":"hi"}\n', "journal", NOW)
    assert (cursor, good, made.at) == (None, False, "2026-11-23T12:00:00.000000Z")
    assert orjson.loads(made.line) == {
        "@timestamp": made.at,
        "message": '{"MESSAGE":"hi"}',
        "auditlog": {
            "source": {
                "name": "journal",
                "error": {"type": "journal", "message": "the line is not an entry of the journal"},
            }
        },
    }
    assert made.id != to_document(b"other", "journal", NOW)[0].id


def test_of_bytes_only_numbers_from_0_to_255_are_taken() -> None:
    for numbers in ([-1], [256], [True], [1.0]):
        _, found = document({**LEAST, "OTHER": numbers})
        assert found["journald"]["custom"] == {"other": [orjson.dumps(n).decode() for n in numbers]}
    assert document({**LEAST, "MESSAGE": [0]})[1]["message"] == "\x00"
    assert document({**LEAST, "MESSAGE": []})[1]["message"] == ""


def test_a_value_that_is_too_large_among_several_is_left_out() -> None:
    _, found = document({**LEAST, "OTHER": ["a", None, "b"]})
    assert found["journald"]["custom"] == {"other": ["a", "b"]}


def test_a_name_of_underscores_alone_is_one() -> None:
    _, found = document({**LEAST, "__": "x"})
    assert found["journald"]["custom"] == {"_": "x"}
