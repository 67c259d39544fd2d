"""Reading the tombstones of indices while another process writes them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from auditlog.format.tombstones import INDEX_DELETED
from auditlog.reading import deleted_indices
from auditlog.reading.deleted_indices import DeletedIndices
from auditlog.reading.tombstone_scan import index_tombstones
from auditlog.writer.opening import ReservedService, open_log
from tests.support.logs import write_log


def write_tombstone(directory: Path, day: str, host: str = "hive1", **details: Any) -> None:
    """Record that the index of a day was deleted."""
    index = {
        "sink": "main",
        "urls": ["http://es1:9200", "http://es2:9200"],
        "index": f"llama-orch-audit-{day}",
        "uuid": "abc",
    }
    with open_log(directory, service=ReservedService("retention"), host=host) as log:
        log.emit(INDEX_DELETED, details={**index, **details})


def age(directory: Path) -> None:
    """As if nothing had been made or renamed in it for a minute."""
    past = directory.stat().st_mtime - 60
    os.utime(directory, (past, past))


def test_told_at_once(tmp_path: Path) -> None:
    """told_at_once: what became durable a moment ago is known, whichever process wrote it"""
    deleted = DeletedIndices([tmp_path / "audit", tmp_path / "other"])
    assert deleted.of("main") == frozenset()
    expected: set[str] = set()
    for number, host in enumerate(("hive1", "hive1", "hive2", "hive2", "hive1"), 1):
        write_tombstone(tmp_path / "audit", f"2026.01.0{number}", host)
        if number % 2:
            age(tmp_path / "audit")
        expected.add(f"llama-orch-audit-2026.01.0{number}")
        assert deleted.of("main") == expected
    write_tombstone(tmp_path / "other", "2026.02.01")
    assert deleted.of("main") == expected | {"llama-orch-audit-2026.02.01"}


def test_a_directory_that_did_not_change_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tombstone(tmp_path, "2026.01.01")
    age(tmp_path)
    deleted = DeletedIndices([tmp_path])
    known = deleted.of("main")
    assert known
    monkeypatch.setattr(deleted_indices, "scan", None)  # would be called, were it read
    assert deleted.of("main") == known


def test_elsewhere(tmp_path: Path) -> None:
    """elsewhere: an index of the same name in another cluster is not taken for it"""
    write_tombstone(tmp_path, "2026.01.01")
    deleted = DeletedIndices([tmp_path])
    assert deleted.of("copy", ["http://es9:9200"]) == frozenset()
    assert deleted.of("copy") == frozenset()
    assert deleted.of("renamed", ["http://es2:9200"]) == {"llama-orch-audit-2026.01.01"}


def test_kept(tmp_path: Path) -> None:
    """kept: a log that cannot be read for a while makes nothing known unknown"""
    directory = tmp_path / "audit"
    write_tombstone(directory, "2026.01.01")
    deleted = DeletedIndices([directory])
    known = deleted.of("main")
    assert known
    directory.rename(tmp_path / "away")
    assert deleted.of("main") == known
    (tmp_path / "away").rename(directory)
    (segment,) = directory.glob("*.ndjson")
    segment.write_bytes(b"damaged\n" * 9)
    assert deleted.of("main") == known


@pytest.mark.parametrize(
    "details", [{"index": 7}, {"sink": None}, {"urls": 5}, {"urls": [1]}, {"uuid": None}]
)
def test_an_incomplete_tombstone_is_none(tmp_path: Path, details: dict[str, Any]) -> None:
    write_tombstone(tmp_path, "2026.01.01", **details)
    assert index_tombstones(tmp_path) == ()


def test_only_retention_and_only_an_intact_record_speaks(tmp_path: Path) -> None:
    details = {"sink": "main", "urls": [], "index": "i", "uuid": "u"}
    write_log(tmp_path, "web@hive1").append(event_type=INDEX_DELETED, details=details)
    write_tombstone(tmp_path, "2026.01.01")
    (segment,) = tmp_path.glob("retention@*")
    segment.write_bytes(segment.read_bytes().replace(b"2026.01.01", b"2026.01.02"))
    assert index_tombstones(tmp_path) == ()


def test_told_at_once_though_the_time_stamp_does_not_tell(tmp_path: Path) -> None:
    """Two changes within one tick of the file system's clock look like one."""
    deleted = DeletedIndices([tmp_path])
    tick = time.time() + 3600  # a directory that changed long ago tells by its stamp alone
    expected: set[str] = set()
    for host in ("hive1", "hive2"):
        write_tombstone(tmp_path, f"2026.01.0{host[-1]}", host)
        os.utime(tmp_path, (tick, tick))
        expected.add(f"llama-orch-audit-2026.01.0{host[-1]}")
        assert deleted.of("main") == expected
