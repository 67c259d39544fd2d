from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.foreign_files import FilePlace
from shippers.sources.ndjson.places import Places

places = st.builds(
    FilePlace,
    first_hash=st.sampled_from(["a", "b", "c"]),
    offset=st.integers(0, 9),
    line_at=st.just(0),
    line_hash=st.just("x"),
    seal=st.sampled_from(["", "s"]),
)


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


def test_1024_places_are_kept() -> None:
    kept = Places(FilePlace(str(n), 0, 0, "x") for n in range(1030))
    assert [place.first_hash for place in kept.all()] == [str(n) for n in range(6, 1030)]
