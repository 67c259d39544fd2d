"""The workload with entropy has the properties that its figures are published for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

import auditlog
from benchmarks.workload import with_entropy, write_log
from retention.compress import encoder
from retention.policy import RetentionPolicy

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = 8_000


def compressibility(content: bytes) -> float:
    """How many times smaller retention makes it."""
    compressor = encoder(RetentionPolicy())
    return len(content) / len(compressor.compress(content) + compressor.flush())


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        workload: write_log(tmp_path_factory.mktemp(workload), RECORDS, workload=workload)
        for workload in ("even", "entropy")
    }


def test_a_seed_gives_the_same_events_and_another_seed_others() -> None:
    once = list(with_entropy(100))
    assert list(with_entropy(100)) == once
    assert list(with_entropy(50)) == once[:50]
    assert list(with_entropy(100, seed=2)) != once


def test_ids_are_distinct_users_are_ten_thousand_and_texts_vary() -> None:
    events = list(with_entropy(60_000))
    users = Counter(event["actor"]["user_id"] for event in events)
    assert 9_950 < len(users) <= 10_000
    assert max(users.values()) < 40, "none is favoured"
    for ids in (
        {event["correlation_id"] for event in events},
        {event["resource"]["resource_id"] for event in events},
    ):
        assert len(ids) > 59_980, "a birthday or two"
    assert len({event["reason"] for event in events}) > 30_000


def test_a_line_has_about_534_bytes(segments: dict[str, Path]) -> None:
    content = segments["entropy"].read_bytes()
    assert len(content) / content.count(b"\n") == pytest.approx(534, rel=0.03)


def test_it_compresses_little_more_than_half_as_well_as_the_even_one(
    segments: dict[str, Path],
) -> None:
    even, entropy = (compressibility(segments[each].read_bytes()) for each in ("even", "entropy"))
    # Half of what is left are hash and salt, 48 random bytes a record, in either workload.
    assert 5 < entropy < 6.5
    assert entropy < 0.7 * even


def test_every_record_arrives_and_is_verified(segments: dict[str, Path]) -> None:
    place = segments["entropy"].parent
    assert auditlog.verify(place).ok
    written = [
        (record.fields["correlation_id"], record.fields["reason"])
        for record in auditlog.read(place)
    ]
    assert written == [
        (event["correlation_id"], event["reason"]) for event in with_entropy(RECORDS)
    ]
