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
from auditlog.redaction.redactor import KEYLESS, Redactor, escape
from auditlog.redaction.visible import DECEIVES
from tests.support.secrets import (
    HIDDEN,
    PASSWORDS,
    SECRET_KEYS,
    STRANGE_TEXTS,
    WORDS,
)

_KEYED = Redactor(key=lambda: b"k" * 32)
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), STRANGE_TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(STRANGE_TEXTS, inner, max_size=3)
    ),
    max_leaves=8,
)
_HARMLESS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), WORDS, st.uuids().map(str)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["pool", "max_tokens", "token_owner", "a.b", "größe"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


@st.composite
def _nests(draw: st.DrawFn, leaf: Any) -> Any:
    """The leaf somewhere in a value: in a list, below a key, in a key, in JSON inside of a text."""
    for _ in range(draw(st.integers(0, 3))):
        shapes = [[leaf], {"a": leaf}, {"n": 1, "route": [leaf, 2]}, {"token_count": leaf}]
        if isinstance(leaf, str):
            shapes.append({leaf: 1})
        else:
            shapes.append(orjson.dumps(leaf).decode())
        leaf = draw(st.sampled_from(shapes))
    return leaf


@given(HIDDEN.flatmap(lambda hidden: st.tuples(st.just(hidden[0]), _nests(hidden[1]))))
def test_no_secret(placed: tuple[str, Any]) -> None:
    secret, value = placed
    written = orjson.dumps(_KEYED.clean(value, "details")).decode()
    assert secret not in written
    assert orjson.dumps(secret).decode()[1:-1] not in written


@given(_HARMLESS)
def test_kept(value: Any) -> None:
    assert orjson.dumps(KEYLESS.clean(value, "details")) == orjson.dumps(value)


@given(st.sampled_from(SECRET_KEYS), PASSWORDS, st.data())
def test_nothing_stands_under_a_secret_key(key: str, password: str, data: st.DataObject) -> None:
    held = data.draw(st.sampled_from([password, [password], {"x": [password]}]))
    value = data.draw(_nests({key: held}))
    assert password not in orjson.dumps(KEYLESS.clean(value, "details")).decode()


@pytest.mark.parametrize("key", ["password", "pin", "otp", "cvv", "secret", "api_key"])
def test_a_number_can_be_a_secret(key: str) -> None:
    assert KEYLESS.clean({key: 471147}, "d") != {key: 471147}


def test_what_is_hidden_keeps_its_shape_where_that_tells_nothing() -> None:
    hidden = "[redacted:password]"
    assert KEYLESS.clean({"password": "hunter2"}, "d") == {"password": hidden}
    assert KEYLESS.clean({"passwords": ["hunter2", None]}, "d") == {"passwords": [hidden, None]}
    assert KEYLESS.clean({"passwords": ("hunter2",)}, "d") == {"passwords": [hidden]}
    assert KEYLESS.clean({"token": None, "secret": True}, "d") == {"token": None, "secret": True}
    assert KEYLESS.clean({"authorization": "Bearer hunter2"}, "d") == {
        "authorization": "Bearer [redacted:credentials]"
    }
    assert KEYLESS.clean({"cookies": {"sid": "x1"}}, "d") == {
        "cookies": {"sid": "[redacted:cookie]"}
    }
    assert KEYLESS.clean({"Cookie": "sid=x1; theme=d2"}, "d") == {
        "Cookie": "sid=[redacted:cookie]; theme=[redacted:cookie]"
    }


@given(_JSON)
def test_one_line(value: Any) -> None:
    assert not re.search(DECEIVES, _everything(KEYLESS.clean(value, "details")))


def _everything(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"{key} {_everything(item)} " for key, item in value.items())
    return " ".join(map(_everything, value)) if isinstance(value, list) else str(value)


@given(st.one_of(STRANGE_TEXTS, HIDDEN.map(lambda hidden: hidden[1])))
def test_fast_path(text: str) -> None:
    full = KEYLESS._full(text, "x")
    assert KEYLESS.text(text, "x") == full
    for _ in range(2):  # the second time as it is remembered
        assert KEYLESS.label_json(text, "x") == escape(full)
        assert KEYLESS.clean([text], "x") == [full]


@given(
    st.dictionaries(
        st.one_of(st.sampled_from(["pool", "worker", "name", *SECRET_KEYS[:3]]), STRANGE_TEXTS),
        st.one_of(
            STRANGE_TEXTS,
            HIDDEN.map(lambda hidden: hidden[1]),
            st.integers(-(2**64), 2**65),
            st.floats(),
            st.sampled_from([None, True, [], "a text of more than twenty characters"]),
        ),
        max_size=4,
    )
)
def test_fast_path_of_a_mapping(value: dict[str, Any]) -> None:
    for _ in range(2):  # the second time keys and texts are remembered
        plain = KEYLESS.plain_members(value)
        try:
            cleaned = KEYLESS.clean(value, "x")
        except InvalidEvent:
            assert plain is None
            return
        if plain is not None:
            assert plain.encode() == orjson.dumps(cleaned)[1:-1]
    if all(type(item) is int and 0 <= item < 2**63 for item in value.values()) and (
        value.keys() <= {"pool", "worker"}
    ):
        assert KEYLESS.plain_members(value) is not None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "password=[redacted:password]",
            "authorization: sha256:0123456789ab",
            "x://u:sha256:0123456789ab@h",
        ),
        *(
            "Bearer hmac-sha256:0123456789ab",
            '{"pin": "[redacted:pin]"}',
            "Cookie: a=[redacted:cookie]",
        ),
    ],
)
def test_once(text: str) -> None:
    assert KEYLESS.text(text, "x") == text
    assert KEYLESS.clean({"password": "sha256:0123456789ab"}, "x") == {
        "password": "sha256:0123456789ab"
    }


def test_what_is_remembered_is_bounded() -> None:
    redactor = Redactor()
    for number in range(10_000):
        redactor.label_json(f"worker{number}", "x")
        redactor.clean({f"key{number}": f"a text {number}"}, "x")
    redactor.label_json("w" * 1000, "x")
    assert len(redactor.known) <= 4096
    assert len(redactor._keys) <= 4096
    assert "w" * 1000 not in redactor.known


def test_json_inside_of_a_text_loses_only_its_secrets() -> None:
    text = '{"changes":[{"new":"hunter33y","field":"password"}],"n":1}'
    cleaned = KEYLESS.text(text, "x")
    assert orjson.loads(cleaned) == {
        "changes": [{"new": "[redacted:password]", "field": "password"}],
        "n": 1,
    }
    harmless = '{"a": 1.50, "b" : [ "x" ]}'
    assert KEYLESS.text(harmless, "x") == harmless
    assert "hunter33y" not in KEYLESS.text(orjson.dumps(text).decode(), "x")


def test_an_event_longer_than_a_record_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(RecordTooLarge, match="d alone has 65536 characters"):
        KEYLESS.text("x" * 65_536, "d")
    with pytest.raises(RecordTooLarge, match=r"up to d\[2\] the event has more than"):
        KEYLESS.clean(["x=" * 16_000] * 1000, "d")


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
        (_Text("a\x00"), "a\\u0000"),
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
        (
            {"password=hunter33y": 1, "password=hunter44z": 2},
            {"password=[redacted:password]": 1, "password=[redacted:password]~2": 2},
        ),
        ({_Text("k"): 1}, {"k": 1}),
    ],
)
def test_json_only(value: Any, cleaned: Any) -> None:
    assert KEYLESS.clean(value, "d") == cleaned
    assert orjson.loads(orjson.dumps(KEYLESS.clean(value, "d"))) == cleaned


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
        KEYLESS.clean({"x": [value]}, "d")


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidEvent, match="nested deeper than 32 levels or contains itself"):
        KEYLESS.clean(value, "d")
