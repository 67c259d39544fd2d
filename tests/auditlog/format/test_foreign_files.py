from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.foreign_files import (
    FilePlace,
    decode_places,
    encode_places,
    instant_of,
    value_at,
)

places = st.builds(
    FilePlace,
    first_hash=st.sampled_from(["a", "b", "c"]),
    offset=st.integers(0, 9),
    line_at=st.just(0),
    line_hash=st.just("x"),
    seal=st.sampled_from(["", "s"]),
)


@given(given=st.lists(places, unique=True))
def test_round_trip(given: list[FilePlace]) -> None:
    assert decode_places(orjson.loads(orjson.dumps(encode_places(given)))) == given


@pytest.mark.parametrize(
    "value", [{}, {"files": 5}, {"files": [["a", 1]]}, {"files": [["a", "1", 0, "x", ""]]}]
)
def test_damage_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="places of files"):
        decode_places(value)


@pytest.mark.parametrize(
    "given", [None, True, "", "yesterday", "2026-02-30T00:00:00Z", {}, [], 1e300, float("nan")]
)
def test_no_instant(given: Any) -> None:
    assert instant_of(given) is None


@pytest.mark.parametrize(
    "given",
    [
        "2026-11-23T13:10:58.200925322Z",
        "2026-11-23T14:10:58.200925+01:00",
        "2026-11-23T13:10:58.200925",
        1795439458200.925,
        1795439458.200925,
    ],
)
def test_one_instant_however_it_is_told(given: Any) -> None:
    at = instant_of(given)
    assert at is not None
    wanted = dt.datetime(2026, 11, 23, 13, 10, 58, 200925, dt.UTC)
    assert abs(at - wanted) < dt.timedelta(milliseconds=1)


def test_a_member_is_found_by_its_name_or_by_its_path() -> None:
    value = {"a.b": 1, "a": {"b": 2, "c": {"d": 3}}}
    assert [value_at(value, name) for name in ("a.b", "a.c.d", "a.x.y", "z")] == [1, 3, None, None]
    assert value_at([1], "a") is None
