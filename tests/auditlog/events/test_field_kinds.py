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

from auditlog.errors import InvalidEvent
from auditlog.events.field_kinds import KINDS, NAMES, FieldKind
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


@pytest.mark.parametrize(
    ("name", "value", "checked"),
    [
        ("Id", _Name.A, "a"),
        ("Label", _Name.A, "a"),
        ("Text", "", ""),
        ("Text", _Name.A, "a"),
        ("Digest", "sha256:" + "0f" * 32, "sha256:" + "0f" * 32),
        ("Digest", "0F" * 32, "0F" * 32),
        ("Address", "::1", "::1"),
        ("Count", 0, 0),
        ("Count", 2**64 - 1, 2**64 - 1),
        ("Number", 3, 3),
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
    ],
)
def test_a_value_of_the_kind_is_taken(name: str, value: object, checked: object) -> None:
    taken = KINDS[name].check("x", value)
    assert taken == checked
    assert type(taken) is type(checked)


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
        ("Number", float("nan"), "x is negative, not finite"),
        ("Number", float("inf"), "x is negative, not finite"),
        ("Number", True, "x is bool, not a number"),
        ("Number", "1", "x is str, not a number"),
        ("bool", 1, "x is int, not True or False"),
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
