from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from auditlog.archived import (
    ArchivedManifest,
    ArchivedObject,
    ArchivedSpan,
    ArchiveMemory,
    archived_in,
)
from auditlog.errors import ArchiveMemoryDamaged

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 11, 23, 7, 12, tzinfo=dt.UTC)
OBJECT = ArchivedObject(
    log="queen-rbee@hive1",
    segment="queen-rbee@hive1.2026-11-23.0001.ndjson",
    key="v1/queen-rbee@hive1/queen-rbee@hive1.2026-11-23.0001.ndjson.zst",
    version="",
    size_bytes=100,
    sha256="a" * 64,
    checksum="LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
    content_bytes=700,
    first_seq=1,
    last_seq=30,
    last_hash="b" * 64,
    mode="GOVERNANCE",
    retain_until=NOW + dt.timedelta(days=365),
    at=NOW,
)
STORED = replace(OBJECT, version="v1")


def test_round_trip(tmp_path: Path) -> None:
    with ArchiveMemory(tmp_path) as memory:
        memory.begin(OBJECT)
        assert memory.begun(OBJECT.log, OBJECT.segment) == OBJECT
    with ArchiveMemory(tmp_path) as memory:
        memory.store(STORED)
        memory.record(STORED)
        manifest = ArchivedManifest(1, NOW, b"{}\n", None)
        memory.make_manifest(manifest, [STORED])
        assert memory.newest_manifest() == manifest
        memory.store_manifest(1, "m1")
    with ArchiveMemory(tmp_path, read_only=True) as memory:
        assert list(memory.archived()) == [STORED]
        assert memory.newest_manifest() == replace(manifest, version="m1")
        assert memory.totals() == (1, 100, NOW)
        assert memory.unlisted(10) == []
    assert ArchivedObject.from_json(STORED.to_json()) == STORED
    with pytest.raises(ValueError, match="not an object of an archive"):
        ArchivedObject.from_json({**STORED.to_json(), "version": None})


def test_in_order(tmp_path: Path) -> None:
    name = {OBJECT.log: {OBJECT.segment: ArchivedSpan(1, 30, "b" * 64)}}
    assert archived_in(tmp_path) == {}, "without a memory nothing is archived"
    with ArchiveMemory(tmp_path) as memory:
        memory.begin(OBJECT)
        assert (memory.has(OBJECT.log), archived_in(tmp_path)) == (set(), {})
        memory.store(STORED)
        assert (memory.has(OBJECT.log), archived_in(tmp_path)) == ({OBJECT.segment}, {})
        assert memory.unrecorded() == [STORED]
        memory.record(STORED)
        assert (memory.unrecorded(), archived_in(tmp_path)) == ([], name)
        memory.forget(OBJECT)
        assert archived_in(tmp_path) == name, "only an upload that was begun can be forgotten"


def test_damaged(tmp_path: Path) -> None:
    path = tmp_path / "archive.sqlite"
    path.write_bytes(b"no database, whatever its name says" * 100)
    before = path.read_bytes()
    for read_only in (True, False):
        with (
            pytest.raises(ArchiveMemoryDamaged, match=r"archive\.sqlite"),
            ArchiveMemory(tmp_path, read_only=read_only) as memory,
        ):
            memory.unrecorded()
    with pytest.raises(ArchiveMemoryDamaged):
        archived_in(tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
