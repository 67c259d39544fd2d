from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from auditlog.errors import InvalidEvent
from auditlog.events import field_kinds
from auditlog.events.field_kinds import (
    ANY,
    KINDS,
    NAMES,
    FieldKind,
    choice,
    instance_of,
    one_of,
)
from auditlog.events.values import cleaned
from auditlog.redaction.redactor import KEYLESS
from tests.support.secrets import HIDDEN, SECRETS

_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=50),
    st.text("0123456789abcdefABCDEF:", max_size=130),
    st.binary(max_size=3),
    st.lists(st.text(max_size=3), max_size=3),
    st.datetimes(),
    st.datetimes(timezones=st.just(dt.UTC)),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.ip_addresses(),
    HIDDEN.map(lambda hidden: hidden[1]),
)


def _says(expression: str, value: object) -> bool:
    return bool(eval(expression, dict(NAMES), {"_v": value}))


def _json(kind: FieldKind, value: object) -> str:
    """The value as it stands in a record."""
    names = {"_v": value, "_where": "x", "_r": KEYLESS}
    exec(kind.json or "", dict(NAMES), names)
    return f'"{names["_v"]}"' if kind.quoted else str(names["_v"])


@given(st.sampled_from(sorted(KINDS)), _VALUES)
def test_spared(name: str, value: object) -> None:
    kind = KINDS[name]
    if kind.wrong is not None and not _says(kind.wrong, value):
        assert kind.check("x", value) is value


@given(st.sampled_from(sorted(KINDS)), _VALUES)
def test_cleaned(name: str, value: object) -> None:
    kind = KINDS[name]
    try:
        checked = kind.check("x", value)
        clean_value, _ = cleaned(checked, "x")
    except InvalidEvent:
        return
    for _ in range(2):  # the second time as it is remembered
        assert orjson.loads(_json(kind, checked)) == clean_value


@given(SECRETS)
def test_no_secret_is_spared(secret: tuple[str, str]) -> None:
    for name in ("Id", "Label", "Text"):
        assert secret[1] not in orjson.loads(_json(KINDS[name], secret[1]))


class _Name(enum.StrEnum):
    A = "a"


_AT = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


_TAKEN: list[tuple[str, object, object]] = [
    ("Id", _Name.A, "a"),
    ("Label", _Name.A, "a"),
    ("Text", "", ""),
    ("Text", _Name.A, "a"),
    ("Digest", "sha256:" + "0f" * 32, "sha256:" + "0f" * 32),
    ("Digest", "0F" * 32, "0F" * 32),
    ("Address", "::1", "::1"),
    ("Count", 0, 0),
    ("Count", 2**64 - 1, 2**64 - 1),
    ("Number", 0, 0),
    ("Number", 3, 3),
    ("Number", 2**64 - 1, 2**64 - 1),
    ("Number", 0.5, 0.5),
    ("bool", False, False),
    ("Instant", _AT, _AT),
    ("Instant", "2026-11-23T00:00:00Z", _AT),
    ("Id", 7, "7"),
    ("Id", UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    ("Text", PurePosixPath("/etc"), "/etc"),
    ("Text", ValueError("why"), "why"),
    ("Digest", b"\x00" * 4, "00000000"),
    ("Number", Decimal("0.5"), 0.5),
    ("Word", "oidc", "oidc"),
    ("Labels", {"b", "a"}, ("a", "b")),
    ("Labels", ["a", _Name.A], ("a", "a")),
    ("Labels", (), ()),
    ("Changes", {"a": 1}, {"a": 1}),
    ("int", -7, -7),
    ("int", 7, 7),
    ("float", 3, 3),
    ("float", -0.5, -0.5),
    ("float", Decimal("0.5"), 0.5),
]


@pytest.mark.parametrize(("name", "value", "checked"), _TAKEN)
def test_a_value_of_the_kind_is_taken(name: str, value: object, checked: object) -> None:
    taken = KINDS[name].check("x", value)
    assert taken == checked
    assert type(taken) is type(checked)


@pytest.mark.parametrize(("name", "value", "checked"), _TAKEN)
def test_a_value_is_recorded_as_the_schema_of_its_kind_says(
    name: str, value: object, checked: object
) -> None:
    kind = KINDS[name]
    recorded = orjson.loads(_json(kind, kind.check("x", value)))
    Draft202012Validator(kind.schema).validate(recorded)
    assert recorded == cleaned(checked, "x")[0]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("Id", "", "x is empty"),
        ("Label", "", "x is empty"),
        ("Label", None, "x is NoneType, not a string"),
        ("Text", b"a", "x is bytes, not a string"),
        ("Digest", "write me a poem", "x is not a digest"),
        ("Digest", "abc", "x is not a digest"),
        ("Digest", "0" * 129, "x is not a digest"),
        ("Digest", "0" * 64 + "\n", "x is not a digest"),
        ("Address", "localhost", "x is not an IP address"),
        ("Count", -1, "x is negative or beyond 64 bits"),
        ("Count", 2**64, "x is negative or beyond 64 bits"),
        ("Count", True, "x is bool, not a whole number"),
        ("Count", 1.0, "x is float, not a whole number"),
        ("Number", -0.1, "x is negative"),
        ("Number", -1, "x is negative"),
        ("Number", 2**64, "x is negative, not finite or beyond 64 bits"),
        ("Number", float("nan"), "x is negative, not finite"),
        ("Number", float("inf"), "x is negative, not finite"),
        ("Number", True, "x is bool, not a number"),
        ("Number", "1", "x is str, not a number"),
        ("bool", 1, "x is int, not True or False"),
        ("int", 1.0, "x is float, not a whole number"),
        ("int", True, "x is bool, not a whole number"),
        ("float", "1", "x is str, not a number"),
        ("float", True, "x is bool, not a number"),
        ("Instant", "soon", "x is not a time"),
        ("Instant", 7, "x is int, not a datetime"),
        ("Labels", "abc", "x is str, not a list of strings"),
        ("Labels", ["a", None], r"x\[1\] is NoneType, not a string"),
        ("Labels", {"a": 1}, "x is dict, not a list of strings"),
        ("Changes", [1], "x is list, not a mapping"),
    ],
)
def test_named(name: str, value: Any, words: str) -> None:
    wrong = KINDS[name].wrong
    assert wrong is None or _says(wrong, value)
    with pytest.raises(InvalidEvent, match=words):
        KINDS[name].check("x", value)


@pytest.mark.parametrize(
    ("name", "shortest_or_least", "beyond"),
    [
        ("Id", "a", [""]),
        ("Label", "a", [""]),
        ("Count", 0, [-1, 2**64]),
        ("Number", 0, [-1, 2**64]),
    ],
)
def test_the_schema_of_a_kind_ends_where_its_check_does(
    name: str, shortest_or_least: object, beyond: list[object]
) -> None:
    kind = KINDS[name]
    schema = Draft202012Validator(kind.schema)
    assert kind.check("x", shortest_or_least) == shortest_or_least
    assert schema.is_valid(shortest_or_least)
    for value in beyond:
        assert not schema.is_valid(value)
        with pytest.raises(InvalidEvent):
            kind.check("x", value)


def test_a_signature_shows_a_kind_by_its_name() -> None:
    assert [repr(kind) for kind in KINDS.values()] == list(KINDS)


def test_a_loose_kind_may_hold_what_has_to_be_replaced() -> None:
    nan = float("nan")
    for kind, value in ((KINDS["Changes"], {"a": nan}), (KINDS["float"], nan), (ANY, nan)):
        assert kind.loose
        assert cleaned(kind.check("x", value), "x")[1]
    assert {name for name, kind in KINDS.items() if kind.loose} == {"Changes", "float", "Any"}
    assert instance_of(Decimal).loose
    assert not one_of((1, "a")).loose


def test_a_word_is_spared_when_it_comes_again_but_few_words_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: set[str] = set()
    monkeypatch.setattr(field_kinds, "_WORDS_SEEN", seen)
    kind = KINDS["Word"]
    assert kind.check("x", "oidc") == "oidc"
    assert seen == {"oidc"}
    for number in range(2000):
        assert kind.check("x", f"word_{number}") == f"word_{number}"
    assert len(seen) == 1024


def test_a_kind_of_plain_json_is_read_back_as_it_is() -> None:
    assert KINDS["Text"].revive("a") == "a"
    assert KINDS["Labels"].revive(["a"]) == ["a"]


def test_an_object_of_a_class_is_taken_as_it_is_and_made_again_from_its_record() -> None:
    kind = instance_of(Decimal)
    value = Decimal("9.90")
    assert kind.check("x", value) is value
    recorded = orjson.loads(_json(kind, value))
    assert recorded == "9.90"
    assert kind.revive(recorded) == value
    assert type(kind.revive(recorded)) is Decimal
    with pytest.raises(InvalidEvent, match="x is str, not Decimal"):
        kind.check("x", "9.90")
    with pytest.raises(InvalidEvent, match="this is not a Decimal"):
        kind.revive("nine")


def test_one_of_literals_that_are_all_words_is_a_choice_of_words() -> None:
    kind = one_of(("low", "high"))
    assert (kind.name, kind.schema, kind.quoted) == ("Literal", {"enum": ["low", "high"]}, True)
    assert kind.wrong == choice("Literal", ("low", "high")).wrong


_MIXED = one_of(("low", 1, None))


@pytest.mark.parametrize("value", ["low", "".join(["l", "ow"]), 1, None])
def test_one_of_literals_takes_what_equals_one_of_them(value: object) -> None:
    taken = _MIXED.check("x", value)
    assert taken == value
    assert type(taken) is type(value)
    assert orjson.loads(_json(_MIXED, taken)) == value
    assert Draft202012Validator(_MIXED.schema).is_valid(value)


@pytest.mark.parametrize("value", [True, 1.0, 2, "high", "", _Name.A, [1]], ids=repr)
def test_one_of_literals_refuses_others_and_other_types(value: object) -> None:
    with pytest.raises(InvalidEvent, match="x is not one of 'low', 1, None"):
        _MIXED.check("x", value)


def test_a_choice_takes_its_words_alone() -> None:
    kind = choice("Letter", ("a", "b"))
    for value in ("a", _Name.A):
        taken = kind.check("x", value)
        assert taken == "a"
        assert type(taken) is str
        assert _json(kind, taken) == '"a"'
    for other in ("c", "", "ab", 1, None, ["a"]):
        with pytest.raises(InvalidEvent, match="x is not one of a, b"):
            kind.check("x", other)
