from __future__ import annotations

from pathlib import Path

import pytest

from auditlog.format.segment_names import LogId, SegmentName
from auditlog.reading.head_note import known_head, known_logs, remember_head
from auditlog.writer.recovery import Recovered, recover

LOG = LogId("queen-rbee", "hive1")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / ".auditlog").mkdir()
    return tmp_path


def test_noted(directory: Path) -> None:
    for part in (1, 9_999, 10_000):
        name = SegmentName.parse(f"queen-rbee@hive1.2026-11-23.{part:04d}.ndjson")
        remember_head(directory, name)
        assert known_head(directory, LOG) == name


def test_unreadable(directory: Path) -> None:
    name = SegmentName.parse("queen-rbee@hive1.2026-11-23.0001.ndjson")
    note = directory / ".auditlog" / "queen-rbee@hive1.head"
    assert known_head(directory, LOG) is None
    remember_head(directory, name)
    assert known_head(directory, LOG) == name
    for content in (b"", b"\xff\xfe", b"nonsense\n", b"other@hive1.2026-11-23.0001.ndjson\n"):
        note.write_bytes(content)
        assert known_head(directory, LOG) is None
        assert recover(directory, LOG) == Recovered()


def test_the_logs_that_were_ever_noted_are_known(directory: Path) -> None:
    state = directory / ".auditlog"
    for name in ("b@h.head", "a@h+2.head", "nonsense.head", ".x@y.head.tmp", "c@h.lock"):
        (state / name).touch()
    assert [str(log) for log in known_logs(directory)] == ["a@h+2", "b@h"]
    assert known_logs(directory / "nowhere") == ()
