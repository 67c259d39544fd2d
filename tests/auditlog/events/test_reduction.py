from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from auditlog.events.actor import Actor
from auditlog.events.body import encode_free
from auditlog.events.reduction import reduced
from auditlog.format.record import MAX_RECORD_BYTES

LONG = "x" * 70_000
ANYTHING = st.one_of(
    st.none(),
    st.integers(),
    st.text(st.characters()),
    st.builds(object),
    st.sampled_from([LONG, "success", "alice", float("nan"), b"x" * 99_000]),
    st.dictionaries(st.text(max_size=3) | st.integers(), st.text(max_size=3), max_size=2),
)
FIELDS = ("actor", "resource", "outcome", "reason", "severity", "correlation_id", "details", "seq")


def record_of(event_type: object, fields: dict[str, Any]) -> dict[str, Any]:
    kept_type, kept = reduced(event_type, fields)
    body = encode_free(kept_type, service_host='"service":"s"', **kept)
    assert len(body) < MAX_RECORD_BYTES - 512
    record: dict[str, Any] = orjson.loads(b"{" + body + b"}")
    return record


@given(
    st.sampled_from(["pool.drained", "log.x", 7]),
    st.dictionaries(st.sampled_from(FIELDS), ANYTHING),
)
@example("pool.drained", {"actor": LONG})
@example("pool.drained", {"resource": {"resource_type": LONG, "resource_id": LONG}})
@example("pool.drained", dict.fromkeys(FIELDS, LONG))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_never_lost(event_type: object, fields: dict[str, Any]) -> None:
    record = record_of(event_type, fields)
    assert (record["event_type"] == "pool.drained") == (event_type == "pool.drained")


def test_what_is_valid_is_kept_and_the_rest_stands_below_details() -> None:
    fields = {"actor": "alice", "outcome": "who knows", "seq": 7, "details": {"a": float("nan")}}
    record = record_of("task_submitted", fields)
    assert record["event_type"] == "app.logged"
    assert record["actor"] == {"user_id": "alice"}
    assert record["details"] == {
        "a": None,
        "claimed_type": "task_submitted",
        "outcome": "who knows",
        "seq": 7,
        "_replaced": ["a was nan"],
    }


def hashed(text: str) -> dict[str, Any]:
    return {"length": len(text), "hash": f"sha256:{sha256(text.encode()).hexdigest()}"}


@pytest.mark.parametrize(("name", "most"), [("reason", 16_382), ("correlation_id", 1_022)])
def test_a_field_that_is_too_long_stands_below_details_with_its_length(
    name: str, most: int
) -> None:
    """The limit is that of the field's JSON, with its quotes."""
    assert record_of("pool.drained", {name: "x y " * (most // 4) + "x" * (most % 4)})[name]
    text = "x" * (most + 1)
    record = record_of("pool.drained", {name: text})
    assert name not in record
    assert record["details"][name] == (text if most < 4_096 else hashed(text))


def test_a_text_of_more_than_four_kibibytes_becomes_its_length_and_hash_at_any_depth() -> None:
    fits, long = "x" * 4_096, "x" * 4_097
    details = {"a": fits, "b": long, "c": [long], "d": (long,), "e": {"f": long}}
    assert record_of("pool.drained", {"details": details})["details"] == {
        "a": fits,
        "b": hashed(long),
        "c": [hashed(long)],
        "d": [hashed(long)],
        "e": {"f": hashed(long)},
    }


@pytest.mark.parametrize("make", [lambda value: {"k": value}, lambda value: [value]])
def test_eight_levels_are_looked_at(make: Callable[[Any], Any]) -> None:
    long = "x" * 4_097
    inside, beyond = hashed(long), long
    for _ in range(8):
        inside = make(inside)
    for _ in range(9):
        beyond = make(beyond)
    for expected, levels in ((inside, 8), (beyond, 9)):
        given = long
        for _ in range(levels):
            given = make(given)
        assert record_of("pool.drained", {"details": {"a": given}})["details"]["a"] == expected


def test_a_key_of_more_than_256_characters_is_cut_and_hashed() -> None:
    fits, long = "k" * 256, "k" * 257
    record = record_of("pool.drained", {"details": {fits: 1, long: {long: 2}}})
    cut = f"{'k' * 32}… {sha256(long.encode()).hexdigest()[:12]}"
    assert record["details"] == {fits: 1, cut: {cut: 2}}


@pytest.mark.parametrize(("more", "kept"), [(0, True), (1, False)])
def test_details_have_24_kibibytes(more: int, kept: bool) -> None:
    rest = 24_576 - len(orjson.dumps([{"a": ["x" * 4_000] * 6 + [""]}, []]))
    value = ["x" * 4_000] * 6 + ["x" * (rest + more)]
    details = record_of("pool.drained", {"details": {"a": value}})["details"]
    assert details == ({"a": value} if kept else {"omitted_fields": 1})


def test_what_does_not_fit_into_details_is_counted() -> None:
    given = {f"k{number}": "x" * 4_000 for number in range(10)}
    details = record_of("pool.drained", {"details": given})["details"]
    assert details == {**{f"k{number}": "x" * 4_000 for number in range(6)}, "omitted_fields": 4}
    too_large = {"a": ["x" * 4_000] * 30, "b": 1}
    details = record_of("pool.drained", {"details": too_large})["details"]
    assert details == {"b": 1, "omitted_fields": 1}


def test_details_that_are_no_mapping_stand_below_their_name() -> None:
    assert record_of("pool.drained", {"details": [1]})["details"] == {"details": [1]}


def test_a_field_behind_an_absent_one_is_kept() -> None:
    record = record_of("pool.drained", {"actor": None, "reason": "it was empty"})
    assert record["reason"] == "it was empty"


def test_an_actor_as_long_as_a_record_stands_below_details() -> None:
    fits, long = (Actor("a", name="x" * length) for length in (16_359, 16_360))
    assert len(fits.json) == 16_384
    assert record_of("pool.drained", {"actor": fits})["actor"]["name"] == fits.name
    assert "actor" not in record_of("pool.drained", {"actor": long})
