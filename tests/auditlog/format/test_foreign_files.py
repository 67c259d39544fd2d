from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.foreign_files import (
    EARLIEST,
    FIRST_LINE_BYTES,
    FilePlace,
    decode_places,
    encode_places,
    first_line_hash,
    instant_of,
    line_hash,
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


def test_the_hash_of_a_line_does_not_depend_on_its_end() -> None:
    plain = hashlib.sha256(b"a line").hexdigest()
    assert [line_hash(b"a line" + end) for end in (b"", b"\n", b"\r\n")] == [plain] * 3
    assert line_hash(b"another line") != plain


def test_a_first_line_is_known_by_its_beginning_as_soon_as_that_is_there() -> None:
    """Cursors hold the hash: how many bytes it is of belongs to their format."""
    assert FIRST_LINE_BYTES == 65_536
    assert first_line_hash(b"") is None
    assert first_line_hash(b"not whole") is None
    assert first_line_hash(b"whole\r\nnext") == line_hash(b"whole")
    assert first_line_hash(b"x" * (FIRST_LINE_BYTES - 1)) is None
    longest = line_hash(b"x" * FIRST_LINE_BYTES)
    for more in (b"", b"\n", b"x", b"x\n", b"y" * 1000):
        assert first_line_hash(b"x" * FIRST_LINE_BYTES + more) == longest
    assert first_line_hash(b"x" * (FIRST_LINE_BYTES - 1) + b"\n") != longest


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (99_999_999_999, "5138-11-16T09:46:39+00:00"),
        (100_000_000_000, "1973-03-03T09:46:40+00:00"),
        (-100_000_000_000, "1966-10-31T14:13:20+00:00"),
        (99_999_999_999_999, "5138-11-16T09:46:39.999+00:00"),
        (100_000_000_000_000, "1973-03-03T09:46:40+00:00"),
        (99_999_999_999_999_984, "5138-11-16T09:46:40+00:00"),
        (100_000_000_000_000_000, "1973-03-03T09:46:40+00:00"),
        (99_999_999_999_999_983_616, "5138-11-16T09:46:40+00:00"),
        (100_000_000_000_000_000_000, None),
        ({"$date": 1_790_000_000}, "2026-09-21T14:13:20+00:00"),
        ({"$date": {"$date": "2026-09-21T14:13:20Z"}}, "2026-09-21T14:13:20+00:00"),
        ({"$date": 1_790_000_000, "more": 1}, None),
        ({"date": 1_790_000_000}, None),
    ],
)
def test_the_size_of_a_number_tells_its_unit(given: Any, shown: str | None) -> None:
    at = instant_of(given)
    if shown is None or at is None:
        assert (at, shown) == (None, None)
    else:
        assert abs(at - dt.datetime.fromisoformat(shown)) < dt.timedelta(milliseconds=1)


def test_an_event_is_not_older_than_this_century() -> None:
    assert dt.datetime(2000, 1, 1, tzinfo=dt.UTC) == EARLIEST
