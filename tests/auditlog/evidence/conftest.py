"""A log, the state of its signer, and its keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditlog.evidence.note import Signer
from auditlog.evidence.proof_state import ProofState


@pytest.fixture
def key() -> Signer:
    return Signer("audit.example.com/hive1", bytes(range(32)))


@pytest.fixture
def state(tmp_path: Path) -> ProofState:
    return ProofState(tmp_path / "state", machine="this one")
