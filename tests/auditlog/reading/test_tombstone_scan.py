from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import auditlog
from auditlog.format.tombstones import INDEX_DELETED, SEGMENT_DELETED
from auditlog.reading.inventory import scan
from auditlog.reading.tombstone_scan import index_tombstones, tombstones_in
from auditlog.writer.opening import ReservedService, open_log
from tests.support.logs import write_log
from tests.support.tombstones import tombstone_details

NAME = "queen-rbee@hive1.2026-08-1%d.0001.ndjson"
SEGMENT = tombstone_details("queen-rbee@hive1", NAME % 1, 1, 500)
INDEX: dict[str, Any] = {"sink": "main", "urls": [], "index": "i", "uuid": "u"}


def test_every_kind(tmp_path: Path) -> None:
    with open_log(tmp_path, service=ReservedService("retention"), host="hive1") as log:
        log.emit(SEGMENT_DELETED, details=SEGMENT)
        log.emit(INDEX_DELETED, details=INDEX)
    with auditlog.open(tmp_path, service="queen-rbee", host="hive1"):
        pass
    assert [found.segment for found in tombstones_in(scan(tmp_path).logs)] == [SEGMENT["segment"]]
    assert [found.index for found in index_tombstones(tmp_path)] == ["i"]


@pytest.mark.parametrize("form", [".zst", ".gz"])
def test_no_proof(tmp_path: Path, form: str) -> None:
    """A segment that is cut off in its middle gives what is before, and the next ones theirs."""
    built = write_log(tmp_path, "retention@hive1", records=0)
    for number in range(3):
        built.append(40, event_type=SEGMENT_DELETED, details=SEGMENT | {"segment": NAME % number})
        built.rotate()
    packed = built.compress(1, form)
    packed.write_bytes(packed.read_bytes()[:-30])
    names = [found.segment for found in tombstones_in(scan(tmp_path).logs)]
    assert names.count(NAME % 0) == names.count(NAME % 2) == 40


def test_no_proof_of_a_changed_line(tmp_path: Path) -> None:
    built = write_log(tmp_path, "retention@hive1", records=0)
    built.append(2, event_type=SEGMENT_DELETED, details=SEGMENT)
    content = built.active.read_bytes()
    built.active.write_bytes(content.replace(b"0001.ndjson", b"0002.ndjson", 1))
    assert len(list(tombstones_in(scan(tmp_path).logs))) == 1
