"""The checkpoints of a log survive cuts at any byte, and do not grow for ever."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from auditlog.evidence import checkpoint_file
from auditlog.evidence.checkpoint_file import CheckpointFile, read_checkpoints
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.note import Signer
from tests.support.trees import ORIGIN, leaves_of, signed, witness

AT = dt.datetime(2026, 11, 23, 7, 12, tzinfo=dt.UTC)
SIGNER = Signer(ORIGIN, bytes(range(32)))
NOTES = [signed(leaves_of(size), SIGNER) for size in range(4)]


def test_durable_and_read_back(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoints")
    assert file.newest is None
    for note in NOTES:
        file.append(note, AT)
        again, _ = read_checkpoints(tmp_path / "checkpoints")
        assert again == file.signed
    assert CheckpointFile(tmp_path / "checkpoints").newest == file.newest


def test_torn(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    file = CheckpointFile(path)
    for note in NOTES[:3]:
        file.append(note, AT)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        file = CheckpointFile(path)
        assert len(file.signed) == whole[:size].count(b"\n")
        file.append(NOTES[3], AT)
        assert read_checkpoints(path)[0] == file.signed


def test_torn_is_not_what_a_changed_file_is_taken_for(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    CheckpointFile(path).append(NOTES[1], AT)
    path.write_bytes(path.read_bytes().replace(b"note", b"nope"))
    with pytest.raises(BadEvidence, match="a line is not a checkpoint"):
        CheckpointFile(path)


def test_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_file, "_LIMIT_BYTES", 20_000)
    monkeypatch.setattr(checkpoint_file, "_KEPT", 10)
    path = tmp_path / "checkpoints"
    file = CheckpointFile(path)
    cosigned = NOTES[2].with_signatures([witness(1).cosign(NOTES[2].text, 7)])
    file.append(cosigned, AT)
    for _ in range(500):
        file.append(NOTES[3], AT)
    assert path.stat().st_size <= 20_000
    again, _ = read_checkpoints(path)
    assert again == file.signed
    assert again[0].note == cosigned
    assert again[-1].note == NOTES[3]
