from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.record import GENESIS_HASH, decode, log_prefix, seal
from auditlog.query.predicate import number_of, predicate
from auditlog.query.syntax import Query, parse
from tests.support.logs import make_line
from tests.support.questions import bodies, naive, queries


@given(query=queries, body=bodies, seq=st.sampled_from([1, 7, 42]))
def test_naive(query: Query, body: dict[str, Any], seq: int) -> None:
    line, _ = make_line("queen-rbee@hive1", seq, **body)
    assert predicate(query)(decode(line)) is naive(query, line)


@given(
    field=st.sampled_from(["details.a", "seq", "outcome", "actor.user_id"]),
    pair=st.sampled_from([("=", "!="), ("~", "!~")]),
    value=st.sampled_from(["7", "alice", "success", "."]),
    body=bodies,
)
def test_opposite(field: str, pair: tuple[str, str], value: str, body: dict[str, Any]) -> None:
    record = decode(make_line("queen-rbee@hive1", 7, **body)[0])
    same, other = (predicate(parse(f"{field}{op}{value}"))(record) for op in pair)
    assert same is not other


@pytest.mark.parametrize("levels", [300, 900])
@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_record_is_asked_however_deep_it_is(levels: int, opened: bytes, closed: bytes) -> None:
    deep = opened * levels + b'["needle",{"n":5}]' + closed * levels
    body = b'"event_type":"x","details":%b' % deep
    at = "2026-11-23T07:12:00.000000Z"
    record = decode(seal(log_prefix("queen-rbee@hive1"), 1, GENESIS_HASH, at, body)[0])
    assert predicate(parse("needle"))(record)
    assert not predicate(parse("haystack"))(record)
    if opened == b"[":
        assert predicate(parse("details=needle details.n=5"))(record)


@pytest.mark.parametrize(
    ("details", "question", "answer"),
    [
        ({"n": 5}, "details.n=5", True),
        ({"n": 5.0}, "details.n=5", True),
        ({"n": "5"}, "details.n=5", True),
        ({"n": 5}, "details.n='5'", False),
        ({"n": True}, "details.n=1", False),
        ({"n": True}, "details.n=true", True),
        ({"n": "true"}, "details.n=true", True),
        ({"n": None}, "details.n=null", True),
        ({}, "details.n=null", False),
        ({}, "details.n!=5", True),
        ({"n": 10}, "details.n>9", True),
        ({"n": "10"}, "details.n>9", False),
        ({"n": "b"}, "details.n>a", True),
        ({"n": {"m": 1}}, "details.n.m=1", True),
        ({"n.m": 1}, "details.n.m=1", True),
        ({"n": [{"m": 1}, {"m": [2, 3]}]}, "details.n.m=3", True),
        ({"n": "xay"}, "details.n~a", True),
        ({"n": 1234}, "details.n~23", True),
        ({"n": 2.5}, "details.n~2", False),
        ({"n": 987654}, "8765", True),
        ({"n": 9}, "details.n>9", False),
        ({"n": 9}, "details.n>=9", True),
        ({"n": 9}, "details.n<9", False),
        ({"n": 9}, "details.n<=9", True),
        ({"n": "a"}, "details.n>a", False),
        ({"n": True}, "details.n>0", False),
        ({"n": False}, "details.n~false", True),
        ({"n": 1}, "details.n=true", False),
        ({"n": 5}, "details.n='null'", False),
        ({".m": 1}, "details..m=1", True),
        ({"a.": {"b": 1}}, "details.a..b=1", True),
        ({"n": False}, "details.n=false", True),
        ({"n": 0}, "details.n=false", False),
        ({"n": True}, "details.n=false", False),
        ({}, "", True),
        ({"a.b": {"c": 1}}, "details.a.b.c=1", True),
        ({"a": {"b.c": 1}}, "details.a.b.c=1", True),
        ({"": {"m": 1}}, "details..m=1", False),
    ],
)
def test_what_a_test_means(details: dict[str, Any], question: str, answer: bool) -> None:
    line, _ = make_line("queen-rbee@hive1", 1, details=details)
    assert predicate(parse(question))(decode(line)) is answer


def test_a_number_is_a_number_up_to_400_characters() -> None:
    assert number_of("9" * 400) == int("9" * 400)
    assert number_of("9" * 401) is None
    assert [number_of(text) for text in ("-0.5", "1e2", "01", "+1", "1.", "")] == [
        -0.5,
        100.0,
        *[None] * 4,
    ]
