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
