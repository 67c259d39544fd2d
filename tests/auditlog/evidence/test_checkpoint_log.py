"""The log of checkpoints: each one a record, and a log that cannot be written stops nothing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from auditlog.evidence.checkpoint import Checkpoint
from auditlog.evidence.checkpoint_file import CheckpointFile, Signed
from auditlog.evidence.checkpoint_log import CheckpointLog
from auditlog.evidence.collection import from_logs
from auditlog.evidence.note import Signer
from tests.support.trees import ORIGIN, leaves_of, signed

LOG = "queen-rbee@hive1"


def signed_checkpoints(place: Path, *sizes: int) -> list[Signed]:
    file, now = CheckpointFile(place / "checkpoints"), dt.datetime.now(dt.UTC)
    signer = Signer(ORIGIN, bytes(32))
    return [file.append(signed(leaves_of(size), signer), now) for size in sizes]


def test_recorded(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    directory.mkdir()
    log = CheckpointLog([directory], "hive1")
    made = signed_checkpoints(tmp_path, 1, 2, 3)
    for each in made[:2]:
        log.record(LOG, each)
    log.close()
    log.record(LOG, made[2])
    log.close()
    log.close()
    assert [path.name[:15] for path in directory.glob("*.ndjson")] == ["evidence@hive1."]
    found = [candidate.note for candidate in from_logs(directory)]
    assert found == [each.note for each in made]
    assert [Checkpoint.parse(note.text).size for note in found] == [1, 2, 3]


def test_unwritable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = CheckpointLog([tmp_path / "later"], "hive1")
    made = signed_checkpoints(tmp_path, 1, 2, 3)
    for each in made[:2]:
        log.record(LOG, each)
    assert caplog.text.count("checkpoints are signed, and not on record: ") == 1
    (tmp_path / "later").mkdir()
    log.record(LOG, made[2])
    log.close()
    assert [candidate.note for candidate in from_logs(tmp_path / "later")] == [made[2].note]
