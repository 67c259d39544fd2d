from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shippers.sources.ndjson_places import FilePlace, Places, decode, encode

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
    """round_trip: what was encoded is decoded, and what is damaged is refused"""
    assert decode(orjson.loads(orjson.dumps(encode(given)))) == given


@pytest.mark.parametrize(
    "value", [{}, {"files": 5}, {"files": [["a", 1]]}, {"files": [["a", "1", 0, "x", ""]]}]
)
def test_damage_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="places of files"):
        decode(value)


@given(given=st.lists(places, max_size=40))
def test_bounded(given: list[FilePlace]) -> None:
    """bounded: no more than ``limit`` places are kept, the newest ones"""
    kept = Places(given, limit=5)
    newest = list(dict.fromkeys(reversed(given)))[:5]
    assert kept.all() == tuple(reversed(newest))
    assert len(kept) == len(newest)
    for first in "abc":
        assert set(kept.of(first)) == {place for place in newest if place.first_hash == first}
    for place in given:
        kept.discard(place)
    assert not kept
    assert not kept.of("a")
