from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import zstandard

import auditlog
from auditlog.errors import LogDamaged
from auditlog.query.files import FileSearch
from auditlog.query.scope import SearchScope
from auditlog.query.syntax import parse
from shippers.archive.reading import find_objects, restore_object, search_objects
from shippers.archive.verdicts import ArchiveFinding
from tests.support.logs import START

if TYPE_CHECKING:
    from tests.shippers.archive.conftest import ArchivingHost


def no_trouble(*said: object) -> None:
    pytest.fail(f"unexpected: {said}")


QUESTIONS = [
    ("details.task_id=task-17", "*", None),
    ("", "rbee-hive@*", "2026-11-24"),
    ("actor.user_id=alice", "*", "2026-11-23 07:12:10"),
    ("nobody", "*", None),
]


def test_same(host: ArchivingHost) -> None:
    for service in ("queen-rbee", "rbee-hive"):
        log = host.write(segments=1, service=service)
        log.rotate(days=1)
        log.append(10)
        log.rotate()
    host.upload()
    with closing(host.bucket.opened()) as bucket:
        for query, logs, since in QUESTIONS:
            scope = SearchScope.asked_for(logs, since, None, START)
            objects = find_objects(bucket, [host.name], scope, [])
            found = list(search_objects(bucket, objects, parse(query), scope, no_trouble))
            texts = [(host.directory / each.segment).read_bytes() for each in objects]
            archived = {line for text in texts for line in text.splitlines(keepends=True)}
            files = FileSearch([host.directory], no_trouble).records(parse(query), scope)
            assert sorted(each.line for each in found) == sorted(
                each.line for each in files if each.line in archived
            )
            assert bool(found) == (query != "nobody")


def test_exact(host: ArchivingHost) -> None:
    log = host.write(segments=2)
    host.upload()
    target = host.place / "restored"
    target.mkdir()
    with closing(host.bucket.opened()) as bucket:
        objects = find_objects(bucket, [host.name], SearchScope(), [])
        assert [restore_object(bucket, each, target) for each in objects] == [True, True]
    for path in log.paths[:2]:
        packed = (target / f"{path.name}.zst").read_bytes()
        assert zstandard.ZstdDecompressor().decompressobj().decompress(packed) == path.read_bytes()
    assert auditlog.verify(target).logs[0].records == 40


def test_exact_or_not_there(host: ArchivingHost) -> None:
    host.write(segments=1)
    host.upload()
    findings: list[ArchiveFinding] = []
    target = host.place / "restored"
    target.mkdir()
    with closing(host.bucket.client("admin")) as client, closing(host.bucket.opened()) as bucket:
        (wanted,) = find_objects(bucket, [host.name], SearchScope(), findings)
        where = {"Bucket": host.bucket.name, "Key": wanted.key}
        other = client.put_object(**where, Body=b"something else")["VersionId"]
        assert find_objects(bucket, [host.name], SearchScope(), findings) == [wanted]
        assert restore_object(bucket, wanted, target), "the manifest's version, not the newest"
        elsewhere = host.place / "elsewhere"
        elsewhere.mkdir()
        with pytest.raises(LogDamaged, match="not what was uploaded"):
            restore_object(bucket, replace(wanted, version=other), elsewhere)
        assert list(elsewhere.iterdir()) == []
    assert findings == []


def test_kept(host: ArchivingHost) -> None:
    log = host.write(segments=1)
    host.upload()
    with closing(host.bucket.opened()) as bucket:
        (wanted,) = find_objects(bucket, [host.name], SearchScope(), [])
        before = sorted(host.directory.iterdir())
        assert not restore_object(bucket, wanted, host.directory)
        log.compress(0, ".gz")
        assert not restore_object(bucket, wanted, host.directory)
    assert len(list(host.directory.iterdir())) == len(before)
