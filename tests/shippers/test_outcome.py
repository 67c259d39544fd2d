from __future__ import annotations

from shippers.outcome import DeliveryOutcome, OutcomeKind


def test_final() -> None:
    """final: exactly indexed, duplicate and quarantined are final"""
    assert {kind for kind in OutcomeKind if DeliveryOutcome(kind).final} == {
        OutcomeKind.INDEXED,
        OutcomeKind.DUPLICATE,
        OutcomeKind.QUARANTINED,
    }
