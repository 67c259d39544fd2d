"""The signer's state belongs to one machine and one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditlog.durable_fs import Locked
from auditlog.evidence.errors import SigningStopped
from auditlog.evidence.proof_state import ProofState

LOG = "queen-rbee@hive1"


def test_one_signer(state: ProofState) -> None:
    with state.locked(), pytest.raises(Locked), state.locked():
        pass
    with state.locked():
        pass


def test_one_machine(tmp_path: Path) -> None:
    with ProofState(tmp_path, machine="one").locked():
        pass
    clone = ProofState(tmp_path, machine="another")
    with pytest.raises(SigningStopped, match=r"another machine.*evidence restart"), clone.locked():
        pass
    clone.adopt()
    with clone.locked():
        pass


def test_restarts(state: ProofState) -> None:
    with state.locked():
        assert state.logs() == []
        directory = state.directory(LOG)
        directory.mkdir()
        (directory / "checkpoints").write_bytes(b"old")
        state.stop(LOG, "a fork")
        assert (state.epoch(LOG), state.stopped(LOG)) == (1, "a fork")
        assert state.restart(LOG) == 2
        assert (state.epoch(LOG), state.stopped(LOG)) == (2, "")
        assert (state.path / f"{LOG}~e1/checkpoints").read_bytes() == b"old"
        assert state.restart(LOG) == 3
        assert state.logs() == [LOG]
