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


@given(given=st.lists(places, max_size=40), used=st.sets(places, max_size=5))
def test_bounded(given: list[FilePlace], used: set[FilePlace]) -> None:
    """bounded: ``trim`` keeps every place in use, and the newest ``limit`` of the others"""
    kept = Places(given, limit=5)
    known = list(reversed(dict.fromkeys(reversed(given))))
    assert kept.all() == tuple(known)
    kept.trim(used)
    spare = [place for place in known if place not in used][-5:]
    expected = [place for place in known if place in used or place in spare]
    assert kept.all() == tuple(expected)
    for first in "abc":
        assert set(kept.of(first)) == {place for place in expected if place.first_hash == first}
    for place in given:
        kept.discard(place)
    assert not kept.all()
    assert not kept.of("a")


def test_4096_places_are_kept_of_files_that_are_not_there() -> None:
    kept = Places(FilePlace(str(n), 0, 0, "x") for n in range(4100))
    kept.trim(())
    assert [place.first_hash for place in kept.all()] == [str(n) for n in range(4, 4100)]
