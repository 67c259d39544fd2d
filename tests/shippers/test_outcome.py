from __future__ import annotations

from shippers.outcome import Kind, Outcome


def test_final() -> None:
    """final: exactly indexed, duplicate and quarantined are final"""
    assert {kind for kind in Kind if Outcome(kind).final} == {
        Kind.INDEXED,
        Kind.DUPLICATE,
        Kind.QUARANTINED,
    }
