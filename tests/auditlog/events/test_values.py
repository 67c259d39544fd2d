from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import itertools
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.errors import InvalidEvent, RecordTooLarge
from auditlog.events.values import ValueRules, cleaned
from tests.support.secrets import HIDDEN

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abc", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


class Color(enum.Enum):
    RED = "red"


class Pair(NamedTuple):
    left: int
    right: Any


@dataclasses.dataclass
class Point:
    x: int
    label: Any = None


class Model:
    """As much of a pydantic model as is asked for; the real one is in tests of the bridges."""

    def model_dump(self) -> dict[str, Any]:
        return {"price": Decimal("1.10"), "password": "hunter2"}


class Around:
    """Something whose only spelling is that of another value."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner


class AsPath(Around):
    def __fspath__(self) -> Any:
        return self.inner


class AsModel(Around):
    def model_dump(self) -> Any:
        return self.inner


class AsArray(Around):
    def tolist(self) -> Any:
        return self.inner


class Broken:
    def __iter__(self) -> Any:
        raise RuntimeError("not today")


ANYTHING = st.recursive(
    st.one_of(
        JSON,
        st.integers(),
        st.floats(),
        st.decimals(),
        st.fractions(),
        st.datetimes(),
        st.dates(),
        st.times(),
        st.timedeltas(),
        st.uuids(),
        st.ip_addresses(),
        st.binary(max_size=8),
        st.text(st.characters(), max_size=8),
        st.complex_numbers(),
        st.sampled_from([Color.RED, Broken(), object(), Path("/x"), ValueError("v"), int, len]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.none() | st.integers() | st.text(max_size=3), inner, max_size=3),
        st.builds(Pair, st.integers(), inner),
        st.builds(Point, st.integers(), inner),
        st.builds(collections.deque, st.lists(inner, max_size=2)),
    ),
    max_leaves=8,
)


@given(ANYTHING)
def test_never_refused(value: Any) -> None:
    made, replaced = cleaned({"x": value}, "details")
    orjson.dumps([made, replaced])


@given(JSON)
def test_unchanged(value: Any) -> None:
    assert cleaned({"x": value}, "details") == ({"x": value}, [])


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        (Decimal("12.50"), "12.50"),
        (Fraction(1, 3), "1/3"),
        (Path("/etc/passwd"), "/etc/passwd"),
        (b"\x00\xff", "AP8="),
        (bytearray(b"a"), "YQ=="),
        (dt.timedelta(hours=1, minutes=30), "PT1H30M"),
        (dt.timedelta(days=2, seconds=1, microseconds=500_000), "P2DT1.5S"),
        (dt.timedelta(0), "PT0S"),
        (-dt.timedelta(days=1), "-P1D"),
        (dt.timedelta(seconds=1), "PT1S"),
        (dt.timedelta(microseconds=5), "PT0.000005S"),
        (-dt.timedelta(minutes=2), "-PT2M"),
        (dt.time(7, 12), "07:12:00"),
        (dt.date(2026, 11, 23), "2026-11-23"),
        (dt.datetime(2026, 11, 23, 7, 12), "2026-11-23T07:12:00"),  # noqa: DTZ001  (the point)
        (dt.datetime(2026, 11, 23, tzinfo=dt.UTC), "2026-11-23T00:00:00Z"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (ip_address("2001:db8::7"), "2001:db8::7"),
        (ip_network("10.0.0.0/8"), "10.0.0.0/8"),
        (Color.RED, "red"),
        (2**64, "18446744073709551616"),
        (Point(1, Decimal(2)), {"x": 1, "label": "2"}),
        (Pair(1, Decimal(2)), [1, "2"]),
        (ValueError("no"), {"type": "builtins.ValueError", "message": "no"}),
        (collections.deque([1, 2]), [1, 2]),
        ({Decimal(2), Decimal(1)}, ["1", "2"]),
        (range(3), [0, 1, 2]),
        (
            {1: "a", "1": "b", None: "c", False: "d"},
            {"1": "a", "1~2": "b", "null": "c", "false": "d"},
        ),
        (np.array([1, 2]), [1, 2]),
        (np.float32(0.5), 0.5),
        (int, "builtins.int"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_recorded_in_its_usual_spelling(value: Any, recorded: Any) -> None:
    assert cleaned({"x": value}, "details") == ({"x": recorded}, [])


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        (None, b"null"),
        (True, b"true"),
        (Color.RED, b'"red"'),
        (-(2**63), b"-9223372036854775808"),
        (-(2**63) - 1, b'"-9223372036854775809"'),
        (2**64 - 1, b"18446744073709551615"),
        (2**64, b'"18446744073709551616"'),
    ],
)
def test_a_value_is_spelled_as_usual_beside_one_that_is_converted(
    value: Any, recorded: bytes
) -> None:
    made, replaced = cleaned({"x": [value, Decimal(1)]}, "details")
    assert orjson.dumps(made["x"]) == b'[%b,"1"]' % recorded
    assert replaced == []


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (7, "7"),
        (1.5, "1.5"),
        (Decimal("1.0"), "1.0"),
        (dt.date(2026, 11, 23), "2026-11-23"),
        (Color.RED, "red"),
        (b"a", "YQ=="),
        ((1, 2), "[1,2]"),
    ],
)
def test_a_key_is_its_text(key: Any, name: str) -> None:
    assert cleaned({"x": {key: 0}}, "details") == ({"x": {name: 0}}, [])


def test_a_key_in_a_key_is_named() -> None:
    was = "x[0] was nested too deep, or in itself"
    assert cleaned({"x": {((1,),): 0}}, "details") == ({"x": {'["<tuple>"]': 0}}, [was])


def test_a_generator_is_a_list() -> None:
    assert cleaned({"x": (n for n in (1, 2))}, "details") == ({"x": [1, 2]}, [])


@pytest.mark.parametrize(
    ("value", "recorded", "was"),
    [
        (float("nan"), None, "x was nan"),
        ({"y": [0, float("-inf")]}, {"y": [0, None]}, "x.y[1] was -inf"),
        (object(), "<object>", "x was builtins.object"),
        ("a\udc80", "a\\udc80", "x was lone surrogates"),
        (itertools.count(), "<count>", "x was more than 20000 items"),
        (Broken(), "<Broken>", "x was RuntimeError in Broken"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_named(value: Any, recorded: Any, was: str) -> None:
    assert cleaned({"x": value}, "details") == ({"x": recorded}, [was])


def test_a_value_in_itself_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)
    made, replaced = cleaned({"x": loop}, "details")
    assert orjson.dumps(made).count(b"[") < 32
    assert replaced[0].endswith("was nested too deep, or in itself")


@pytest.mark.parametrize(
    ("around", "spelled", "step"),
    [
        (lambda value: [value], lambda text: [text], "[0]"),
        (lambda value: {"k": value}, lambda text: {"k": text}, ".k"),
        (lambda value: Point(1, value), lambda text: {"x": 1, "label": text}, ".label"),
        (AsPath, lambda text: text, ""),
        (AsModel, lambda text: text, ""),
        (AsArray, lambda text: text, ""),
        (Around, lambda text: text, ""),
    ],
    ids=["list", "mapping", "dataclass", "path", "model", "array", "default"],
)
def test_a_value_is_converted_down_to_the_same_depth_in_anything(
    around: Callable[[Any], Any], spelled: Callable[[Any], Any], step: str
) -> None:
    rules = ValueRules(default=lambda value: value.inner)
    value: Any = Decimal(1)
    kept: Any = "1"
    replaced: Any = "<Decimal>"
    for _ in range(22):
        value, kept, replaced = around(value), spelled(kept), spelled(replaced)
    assert cleaned({"x": value}, "details", rules) == ({"x": kept}, [])
    was = f"x{step * 23} was nested too deep, or in itself"
    assert cleaned({"x": around(value)}, "details", rules) == ({"x": spelled(replaced)}, [was])


def test_a_list_of_the_greatest_length_is_kept_whole() -> None:
    assert cleaned({"x": iter(range(20_000))}, "details") == ({"x": list(range(20_000))}, [])
    was = "x was more than 20000 items"
    assert cleaned({"x": range(20_001)}, "details") == ({"x": "<range>"}, [was])


def test_one_item_beyond_the_greatest_length_is_taken_and_no_more() -> None:
    endless = itertools.count()
    cleaned({"x": endless}, "details")
    assert next(endless) == 20_001


def test_the_fields_of_a_model_are_redacted_by_their_names() -> None:
    made, _ = cleaned({"x": Model()}, "details")
    assert made["x"]["price"] == "1.10"
    assert "hunter2" not in str(made)


@given(HIDDEN)
def test_no_secret_gets_around_redaction_in_an_object(hidden: tuple[str, str]) -> None:
    secret, text = hidden
    made, replaced = cleaned({"x": Point(1, [text, Decimal(1)]), text: float("nan")}, "details")
    assert secret not in orjson.dumps([made, replaced]).decode()


def test_a_default_is_asked_for_what_has_no_spelling() -> None:
    rules = ValueRules(default=lambda value: {"kind": type(value).__name__})
    assert cleaned({"x": [object()]}, "details", rules) == ({"x": [{"kind": "object"}]}, [])


def test_strict_refuses_instead_of_converting() -> None:
    with pytest.raises(InvalidEvent, match=r"details\.x is Decimal"):
        cleaned({"x": Decimal(1)}, "details", ValueRules(strict=True))


def test_a_value_beyond_the_size_of_a_record_is_refused() -> None:
    with pytest.raises(RecordTooLarge):
        cleaned({"x": "y" * 70_000, "z": Decimal(1)}, "details")
