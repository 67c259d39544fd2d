from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.foreign_files import FIRST_LINE_BYTES, first_line_hash, line_hash
from auditlog.redaction.redactor import Redactor
from shippers.item import Document
from shippers.sources.ndjson.line import Line, LineFormat, to_document

NOW = dt.datetime(2026, 11, 23, 12, 0, 0, 5, tzinfo=dt.UTC)
NOW_TEXT = "2026-11-23T12:00:00.000005Z"
FORM = LineFormat("app", "hive1")
LEGACY = Path(__file__).parents[3] / "data" / "legacy" / "2026-11-23.audit"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
members = st.dictionaries(
    st.text(max_size=8)
    | st.sampled_from(["@timestamp", "log", "log.level", "host", "host.name", "message", "error"]),
    json_values,
    max_size=6,
)


def line(content: bytes, **changes: Any) -> Line:
    made = Line("/var/log/app.log", "f" * 64, 10, content, line_hash(content), len(content))
    return made._replace(**changes)


def document(content: bytes, form: LineFormat = FORM, **changes: Any) -> tuple[Document, Any, str]:
    made, wrong = to_document(line(content, **changes), form, NOW)
    assert made.line.endswith(b"\n")
    assert b"\n" not in made.line[:-1]
    return made, orjson.loads(made.line), wrong


@given(value=members)
def test_verbatim(value: dict[str, Any]) -> None:
    """verbatim: the members of an object are in the document as they are in the line"""
    content = orjson.dumps(value)
    made, found, wrong = document(content)
    assert not wrong
    if "fields" in found["auditlog"]:  # a blank name
        found = found["auditlog"]["fields"]
    if "@timestamp" in value:
        found["@timestamp"] = value["@timestamp"]  # see the test of times
    else:
        assert content[1:-1] in made.line
    assert {key: found[key] for key in value} == value


@given(content=st.binary(max_size=60).filter(lambda b: b"\n" not in b))
def test_never_lost(content: bytes) -> None:
    """never_lost: any bytes whatever give a document that is valid JSON"""
    made, found, wrong = document(content)
    assert made.at == NOW_TEXT or not wrong
    if wrong:
        assert found["message"] == content.decode("utf-8", "backslashreplace")
        assert found["auditlog"]["source"]["error"]["type"] == wrong


def test_identity() -> None:
    """identity: the id depends on source, host, first line, offset and line, and nothing else"""
    base = line(b'{"a":1}')

    def identity(of: Line, form: LineFormat = FORM, at: dt.datetime = NOW) -> str:
        return to_document(of, form, at)[0].id

    same = [
        identity(base._replace(path="/elsewhere")),
        identity(base, replace(FORM, timestamp_field="a")),
        identity(base, at=NOW + dt.timedelta(days=3)),
        identity(line(b'{"a":1}\r')._replace(content=b'{"a":1}', size_bytes=7)),
        identity(base._replace(content=b'{"a"')),
    ]
    other = [
        identity(base._replace(offset=11)),
        identity(base._replace(first_hash="e" * 64)),
        identity(line(b'{"a":2}')),
        identity(base, replace(FORM, source="app2")),
        identity(base, replace(FORM, host="hive2")),
    ]
    assert set(same) == {identity(base)}
    assert len({*other, identity(base)}) == len(other) + 1


@given(value=members)
def test_no_clash(value: dict[str, Any]) -> None:
    """no_clash: what is added never takes the place of what the line has"""
    _, found, _ = document(orjson.dumps(value))
    kept = found["auditlog"].get("fields", found)
    assert {key: kept[key] for key in value if key != "@timestamp"} == {
        key: value[key] for key in value if key != "@timestamp"
    }
    assert found.keys() - value.keys() <= {"@timestamp", "auditlog"}


def test_where_a_line_comes_from_is_told_under_a_name_of_our_own() -> None:
    _, found, _ = document(b'{"a":1,"host":"x","log":"y","error":"z"}')
    assert found == {
        "@timestamp": NOW_TEXT,
        "auditlog": {
            "source": {"name": "app", "host": "hive1", "path": "/var/log/app.log", "offset": 10}
        },
        "a": 1,
        "host": "x",
        "log": "y",
        "error": "z",
    }


@pytest.mark.parametrize(
    "content",
    [
        b'{"":1}',
        b'{"a":{" ":1}}',
        b'{"_id":"x"}',
        b'{"auditlog":{"mine":1}}',
        b'{"auditlog.mine":1}',
        orjson.dumps({f"k{n}": n for n in range(301)}),
    ],
)
def test_an_object_that_no_index_can_hold_is_kept_whole_elsewhere(content: bytes) -> None:
    made, found, wrong = document(content)
    assert not wrong
    assert found.keys() == {"@timestamp", "auditlog"}
    assert found["auditlog"]["fields"] == orjson.loads(content)
    assert content in made.line


@pytest.mark.parametrize(
    ("own", "shown"),
    [
        ("1763681400", "2025-11-20T23:30:00.000000Z"),
        ("1763681400.25", "2025-11-20T23:30:00.250000Z"),
        ("1763681400000", "2025-11-20T23:30:00.000000Z"),
        ("1763681400000000", "2025-11-20T23:30:00.000000Z"),
        ("1763681400000000000", "2025-11-20T23:30:00.000000Z"),
        ('"1763681400"', "2025-11-20T23:30:00.000000Z"),
        ('"2025-11-20 23:30:00"', "2025-11-20T23:30:00.000000Z"),
        ('"2025-11-20T23:30:00,5Z"', "2025-11-20T23:30:00.500000Z"),
        ('{"$date":"2025-11-20T23:30:00Z"}', "2025-11-20T23:30:00.000000Z"),
        ('"at noon"', NOW_TEXT),
        ('"1970-01-01T00:00:00Z"', NOW_TEXT),
        ("[1]", NOW_TEXT),
    ],
)
def test_what_was_understood_of_a_time_is_what_the_index_gets(own: str, shown: str) -> None:
    content = b'{ "n" : 1.50, "@timestamp" : %b ,"u":"\\u00e4 \\"@timestamp\\":1"}' % own.encode()
    made, found, wrong = document(content)
    assert (found["@timestamp"], made.at[:10], wrong) == (shown, shown[:10], "")
    given = orjson.loads(own)
    assert found["auditlog"]["source"]["timestamp"] == (
        given if isinstance(given, str) else orjson.dumps(given).decode()
    )
    assert ("error" in found["auditlog"]["source"]) == (shown == NOW_TEXT)
    for untouched in (b'"n" : 1.50,', b'"u":"\\u00e4 \\"@timestamp\\":1"}'):
        assert untouched in made.line


@pytest.mark.parametrize("depth", [200, 900, 1020])  # the parser takes 1,024
@pytest.mark.parametrize("own", [b"5", b"%b"])
def test_a_time_can_be_replaced_in_an_object_of_any_depth(depth: int, own: bytes) -> None:
    nested = b'{"a":' * depth + b"18446744073709551616" + b"}" * depth
    own = own.replace(b"%b", nested)
    made, found, wrong = document(b'{"@timestamp": %b ,"b":%b}' % (own, nested))
    assert (found["@timestamp"], wrong) == (NOW_TEXT, "")
    assert found["auditlog"]["source"]["timestamp"] == own.decode()
    assert made.line.count(nested) == 1, "every other byte stays"


def test_the_time_that_was_replaced_is_kept_to_the_letter() -> None:
    for own in ("1790000000000000000000", '{"a" : 1.50}', "[ 1 ]"):
        _, found, _ = document(b'{"@timestamp":%b,"x":{"@timestamp":1}}' % own.encode())
        assert found["auditlog"]["source"]["timestamp"] == own
        assert found["x"] == {"@timestamp": 1}


def test_of_two_times_of_one_name_the_last_one_counts_and_both_are_replaced() -> None:
    made, found, _ = document(b'{"@timestamp":[1,{"a":2}],"n":1,"\\u0040timestamp":7}')
    assert found["auditlog"]["source"]["timestamp"] == "7"
    assert made.line.count(NOW_TEXT.encode()) == 2


def test_a_byte_order_mark_at_the_beginning_of_a_file_is_no_part_of_its_first_line() -> None:
    _, found, wrong = document(b'\xef\xbb\xbf{"a":1}', offset=0)
    assert (found["a"], wrong) == (1, "")
    assert document(b'\xef\xbb\xbf{"a":1}', offset=7)[2] == "json"


@pytest.mark.parametrize(
    ("given", "shown", "day"),
    [
        ('"2026-11-20T23:30:00.123456789Z"', "2026-11-20T23:30:00.123456789Z", "2026-11-20"),
        ('"2026-11-20T23:30:00-02:00"', "2026-11-20T23:30:00-02:00", "2026-11-21"),
        ('"2026-11-20 23:30:00"', "2026-11-20T23:30:00.000000Z", "2026-11-20"),
        ("1763681400", "2025-11-20T23:30:00.000000Z", "2025-11-20"),
        ("1763681400000", "2025-11-20T23:30:00.000000Z", "2025-11-20"),
        ("1763681400.5", "2025-11-20T23:30:00.500000Z", "2025-11-20"),
        ('"at noon"', NOW_TEXT, "2026-11-23"),
        ('"1970-01-01T00:00:00Z"', NOW_TEXT, "2026-11-23"),
        ('"2027-01-01T00:00:00Z"', NOW_TEXT, "2026-11-23"),
        ('"1999-12-31T23:59:59.999999Z"', NOW_TEXT, "2026-11-23"),
        ('"2000-01-01T00:00:00Z"', "2000-01-01T00:00:00Z", "2000-01-01"),
        ('"2026-11-24T12:00:00.000005Z"', "2026-11-24T12:00:00.000005Z", "2026-11-24"),
        ('"2026-11-24T12:00:00.000006Z"', NOW_TEXT, "2026-11-23"),
        ('"9999-12-31T23:59:59-14:00"', NOW_TEXT, "2026-11-23"),
        ("1e300", NOW_TEXT, "2026-11-23"),
        ("true", NOW_TEXT, "2026-11-23"),
        ("null", NOW_TEXT, "2026-11-23"),
    ],
)
def test_the_time_is_the_lines_own_where_it_has_one(given: str, shown: str, day: str) -> None:
    content = b'{"event":{"time":%b}}' % given.encode()
    made, found, _ = document(content, replace(FORM, timestamp_field="event.time"))
    assert (found["@timestamp"], made.day) == (shown, day)
    dotted = b'{"event.time":%b}' % given.encode()
    assert document(dotted, replace(FORM, timestamp_field="event.time"))[1]["@timestamp"] == shown


def test_a_timestamp_of_its_own_stays_and_chooses_the_day() -> None:
    made, found, _ = document(b'{"@timestamp":"2026-11-20T01:00:00Z","t":"2026-11-21T01:00:00Z"}')
    assert (found["@timestamp"], made.day) == ("2026-11-20T01:00:00Z", "2026-11-20")


@pytest.mark.parametrize(
    ("content", "error_type", "message"),
    [
        (b'{"a":1', "json", '{"a":1'),
        (b"plain text", "json", "plain text"),
        (b"[1,2]", "json", "[1,2]"),
        (b"NaN", "json", "NaN"),
        (b'{"a":"\xff"}', "utf-8", '{"a":"\\xff"}'),
        (b'{"a":"\\ud800"}', "json", '{"a":"\\ud800"}'),
        (b"a\x00b", "json", "a\x00b"),
    ],
)
def test_what_is_no_object_is_kept_as_text(content: bytes, error_type: str, message: str) -> None:
    _, found, wrong = document(content)
    assert wrong == found["auditlog"]["source"]["error"]["type"] == error_type
    assert found["message"] == message
    assert found["@timestamp"] == NOW_TEXT


def test_a_line_that_was_cut_says_so() -> None:
    _, found, wrong = document(b'{"a":1', size_bytes=70_000_000)
    assert wrong == "truncated"
    assert (
        found["auditlog"]["source"]["error"]["message"] == "the line of 70000000 bytes was cut to 6"
    )
    assert found["message"] == '{"a":1'


def test_the_first_line_is_known_once_it_is_whole_or_long_enough() -> None:
    assert first_line_hash(b'{"a"') is None
    assert first_line_hash(b"") is None
    assert first_line_hash(b'{"a":1}\n{') == line_hash(b'{"a":1}') == line_hash(b'{"a":1}\r\n')
    long = b"x" * FIRST_LINE_BYTES
    assert first_line_hash(long[:-1]) is None
    assert first_line_hash(long) == first_line_hash(long + b"more") == line_hash(long)
    assert first_line_hash(long + b"\nnext") == line_hash(long)


def test_a_file_of_the_rust_crate_reads_as_it_is() -> None:
    form = replace(FORM, timestamp_field="timestamp")
    lines = LEGACY.read_bytes().splitlines()
    assert len(lines) == 12
    for content in lines:
        made, found, wrong = document(content, form)
        assert not wrong
        assert found["@timestamp"] == found["timestamp"]
        assert found["event"]["actor"]["auth_method"] == "bearer_token"
        assert content[1:] in made.line


def test_an_object_of_300_members_is_as_it_is() -> None:
    _, found, _ = document(orjson.dumps({f"k{n}": n for n in range(300)}))
    assert found["k299"] == 299


REDACTING = replace(FORM, redactor=Redactor(visible=False))


@pytest.mark.parametrize(
    "content",
    [
        b'{"password":"hunter33y","pool":"a"}',
        b'{"note":"curl -u bob:hunter33y https://x"}',
        b'{"password":"hunter33y","password":null}',
        b"plain text with password=hunter33y in it",
        b'{"changes":[{"field":"password","new":"hunter33y"}]}',
        b'{"a":' * 40 + b'"password=hunter33y"' + b"}" * 40,
        b"password=hunter33y \xff",
    ],
)
def test_redacted(content: bytes) -> None:
    made, found, _ = document(content, REDACTING)
    assert b"hunter33y" not in made.line
    assert made.id == document(content)[0].id
    if b'"pool"' in content:
        assert found["pool"] == "a"


@pytest.mark.parametrize(
    "number",
    [b"18446744073709551616", b"-9223372036854775809", b"0.10000000000000000555", b"1.50", b"1E5"],
)
def test_redacted_but_for_its_numbers(number: bytes) -> None:
    """A parser makes another number of each, or another spelling."""
    line = (
        b'{"n":%b,"password":"SECRET","deep":[[{"k":%b}],%b],'
        b'"text":"{\\"changes\\":[{\\"new\\":\\"SECRET\\",\\"field\\":\\"password\\"}],\\"n\\":%b}"}'
    ) % (number, number, number, number)
    made, _, _ = document(line.replace(b"SECRET", b"hunter33y"), REDACTING)
    assert made.line.endswith(line.replace(b"SECRET", b"[redacted:password]")[1:] + b"\n")


@given(value=members)
def test_a_line_without_a_secret_stays_byte_for_byte(value: dict[str, Any]) -> None:
    content = orjson.dumps(value)
    if REDACTING.redactor is not None and REDACTING.redactor.clean(value, "") == value:
        assert document(content, REDACTING)[0] == document(content)[0]
