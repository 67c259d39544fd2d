from __future__ import annotations

from shippers.outcome import (
    DUPLICATE,
    INDEXED,
    RETIRED,
    DeliveryOutcome,
    OutcomeKind,
    quarantined,
    retry,
    tampered,
    unverified_duplicate,
)


def test_final() -> None:
    """final: exactly indexed, duplicate and quarantined are final"""
    assert {kind for kind in OutcomeKind if DeliveryOutcome(kind).final} == {
        OutcomeKind.INDEXED,
        OutcomeKind.DUPLICATE,
        OutcomeKind.QUARANTINED,
    }


def test_only_a_record_that_the_sink_holds_otherwise_is_an_alarm() -> None:
    found = tampered("ab" * 32, 409)
    assert (found.kind, found.alarm, found.status) == (OutcomeKind.QUARANTINED, True, 409)
    assert "ab" * 32 in found.reason
    assert "missing" in tampered("").reason
    others = (INDEXED, DUPLICATE, RETIRED, quarantined("mapping"), unverified_duplicate())
    assert not any(outcome.alarm for outcome in others)


def test_only_a_duplicate_whose_hash_was_not_read_is_not_verified() -> None:
    found = unverified_duplicate(409)
    assert (found.kind, found.verified, found.status) == (OutcomeKind.DUPLICATE, False, 409)
    others = (INDEXED, DUPLICATE, RETIRED, quarantined("mapping"), tampered("ab" * 32))
    assert all(outcome.verified for outcome in others)


def test_a_quarantined_record_says_why_in_two_ways() -> None:
    found = quarantined("the mapping refuses it", 400, "failed to parse field [x]")
    assert found == DeliveryOutcome(
        OutcomeKind.QUARANTINED, "the mapping refuses it", 400, "failed to parse field [x]"
    )
    assert not found.throttled


def test_a_retry_is_throttled_only_when_it_says_so() -> None:
    assert retry("busy", 429, throttled=True) == DeliveryOutcome(
        OutcomeKind.RETRY, "busy", 429, throttled=True
    )
    assert not retry("unreachable").throttled
