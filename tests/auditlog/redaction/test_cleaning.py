from __future__ import annotations

import datetime as dt
import enum
import re
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.errors import InvalidEvent, RecordTooLarge
from auditlog.redaction import cleaning
from auditlog.redaction.cleaning import clean, clean_text, escape, full_look, label_json
from auditlog.redaction.secret_text import fingerprint, suspicious
from tests.support.secrets import HIDDEN, PASSWORDS, SECRET_KEYS, STRANGE_TEXTS, UNSAFE

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), STRANGE_TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(STRANGE_TEXTS, inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def _nests(draw: st.DrawFn, leaf: Any) -> Any:
    """The leaf somewhere in a value: in a list, below a key, in a key."""
    for _ in range(draw(st.integers(0, 3))):
        leaf = draw(
            st.sampled_from(
                [[leaf], {"a": leaf}, {"n": 1, "path": [leaf, 2]}, {"token_count": leaf}]
                + ([{leaf: 1}] if isinstance(leaf, str) else [])
            )
        )
    return leaf


@given(HIDDEN.flatmap(lambda hidden: st.tuples(st.just(hidden[0]), _nests(hidden[1]))))
def test_no_secret(placed: tuple[str, Any]) -> None:
    secret, value = placed
    written = orjson.dumps(clean(value, "details")).decode()
    assert secret not in written
    assert orjson.dumps(secret).decode()[1:-1] not in written


@given(st.sampled_from(SECRET_KEYS), PASSWORDS, st.integers(10**6, 10**9), st.data())
def test_nothing_stands_under_a_secret_key(
    key: str, password: str, number: int, data: st.DataObject
) -> None:
    value = data.draw(_nests({key: data.draw(_nests(password))}))
    assert password not in orjson.dumps(clean(value, "details")).decode()
    if "token" not in key and "prompt" not in key:
        assert str(number) not in orjson.dumps(clean({key: number}, "details")).decode()


def test_what_is_hidden_keeps_its_shape_where_that_tells_nothing() -> None:
    hunter = fingerprint("hunter2")
    assert clean({"password": "hunter2"}, "d") == {"password": hunter}
    assert clean({"passwords": ["hunter2", None]}, "d") == {"passwords": [hunter, None]}
    assert clean({"passwords": ("hunter2",)}, "d") == {"passwords": [hunter]}
    assert clean({"token": None, "secret": True}, "d") == {"token": None, "secret": True}
    assert clean({"authorization": "Bearer hunter2"}, "d") == {"authorization": f"Bearer {hunter}"}
    assert clean({"authorization": "bearer \x1b hunter2"}, "d") != {"authorization": "Bearer"}
    assert clean({"password": 123}, "d") == {"password": fingerprint("123")}
    assert clean({"cookies": {"sid": "x"}}, "d") == {"cookies": fingerprint('{"sid":"x"}')}


def test_a_key_that_held_a_number_once_still_hides_a_text() -> None:
    for _ in range(2):
        assert clean({"max_tokens": 5}, "d") == {"max_tokens": 5}
        assert clean({"max_tokens": "abc9"}, "d") == {"max_tokens": fingerprint("abc9")}


@given(_JSON)
def test_one_line(value: Any) -> None:
    assert not _FORBIDDEN.search(_everything(clean(value, "details")))


def _everything(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(key + _everything(item) for key, item in value.items())
    return "".join(map(_everything, value)) if isinstance(value, list) else str(value)


@pytest.mark.parametrize("character", UNSAFE)
def test_an_unsafe_character_becomes_the_replacement_character(character: str) -> None:
    assert clean_text(f"a{character}", "x") == "a\ufffd"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\x1b[31;1mb", "a\ufffdb"),
        ("a\x9b31mb", "a\ufffdb"),
        ("a\x1b]0;title\x07b", "a\ufffdb"),
        ("a\x1b]8;;http://x\x1b\\b", "a\ufffdb"),
        ("a\x1bcb", "a\ufffdb"),
        ("a\tb", "a b"),
        ("a\r\nb", "a b"),
        ("größe 模型 👍🏽", "größe 模型 👍🏽"),
        ('"quoted" \\ back', '"quoted" \\ back'),
    ],
)
def test_text_is_sanitised(text: str, cleaned: str) -> None:
    assert clean_text(text, "x") == cleaned


@given(st.one_of(STRANGE_TEXTS, HIDDEN.map(lambda hidden: hidden[1])))
def test_fast_path(text: str) -> None:
    if not suspicious(text):
        assert full_look(text, "x") == text
        assert escape(text) == text
    assert clean_text(text, "x") == full_look(text, "x")
    for _ in range(2):  # the second time as it is remembered
        assert label_json(text, "x") == escape(full_look(text, "x"))


def test_what_is_remembered_is_bounded() -> None:
    for number in range(10_000):
        label_json(f"worker{number}", "x")
        clean({f"key{number}": 1}, "x")
    label_json("w" * 1000, "x")
    assert len(cleaning.KNOWN_CLEAN) <= 4096
    assert len(cleaning._known_keys) <= 4096
    assert "w" * 1000 not in cleaning.KNOWN_CLEAN


class _Level(enum.StrEnum):
    HIGH = "high"


class _Text(str):
    __slots__ = ()


class _Int(int):
    pass


class _Float(float):
    pass


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        (_Level.HIGH, "high"),
        (_Text("a\x00"), "a\ufffd"),
        (_Int(3), 3),
        (_Float(3.5), 3.5),
        (True, True),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        ((1, 2), [1, 2]),
        ({3, 1}, [1, 3]),
        (dt.datetime(2026, 11, 23, 7, tzinfo=dt.UTC), "2026-11-23T07:00:00Z"),
        (
            dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
            "2025-12-31T23:00:00Z",
        ),
        (dt.date(2026, 11, 23), "2026-11-23"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({"a\x00": 1, "a\x01": 2}, {"a\ufffd": 1, "a\ufffd~2": 2}),
        ({"a\ufffd": 0, "a\x00": 1, "a\x01": 2}, {"a\ufffd": 0, "a\ufffd~2": 1, "a\ufffd~3": 2}),
        ({"a\x00": 1, "a\ufffd": 2}, {"a\ufffd": 1, "a\ufffd~2": 2}),
        ({_Text("k"): 1}, {"k": 1}),
    ],
)
def test_json_only(value: Any, cleaned: Any) -> None:
    assert clean(value, "d") == cleaned
    assert orjson.loads(orjson.dumps(clean(value, "d"))) == cleaned


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "d.x[0] is not a finite number"),
        (float("inf"), "d.x[0] is not a finite number"),
        (2**64, "d.x[0] is an integer beyond 64 bits"),
        (-(2**63) - 1, "d.x[0] is an integer beyond 64 bits"),
        (_Int(2**64), "d.x[0] is an integer beyond 64 bits"),
        (b"raw", "d.x[0] is bytes"),
        (object(), "d.x[0] is object"),
        ({1: 2}, "d.x[0] has a key that is not a string but int"),
        ("\ud800", "d.x[0] has a lone surrogate"),
        ({"\ud800": 1}, "a key of d.x[0] has a lone surrogate"),
        (dt.datetime(2026, 1, 1), "d.x[0] is a datetime without a time zone"),  # noqa: DTZ001  (the point)
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(InvalidEvent, match="^" + re.escape(words)):
        clean({"x": [value]}, "d")


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidEvent, match="nested deeper than 32 levels or contains itself"):
        clean(value, "d")


def test_a_text_longer_than_a_record_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(RecordTooLarge, match="d alone has 65536 characters"):
        clean("x" * 65_536, "d")
