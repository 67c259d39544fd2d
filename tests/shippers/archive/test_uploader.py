from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from auditlog.archived import ArchiveMemory
from tests.support.s3 import Disturbance, S3Proxy

if TYPE_CHECKING:
    from tests.shippers.archive.conftest import ArchivingHost


def versions(host: ArchivingHost, log: str) -> int:
    with closing(host.bucket.opened()) as bucket:
        return len(list(bucket.versions(f"v1/{log}/")))


def test_once(host: ArchivingHost) -> None:
    log = host.write()
    for _ in range(3):
        host.upload()
    assert versions(host, log.log) == 2


@pytest.mark.parametrize(("user", "stored"), [("writer", 2), ("admin", 1)])
def test_unanswered(host: ArchivingHost, user: str, stored: int) -> None:
    """A key that may read finds the first upload's version; a write-only key has the second's."""
    log = host.write(segments=1)

    def lose(method: str, *_: object) -> Disturbance:
        return "lose response" if method == "PUT" else None

    with S3Proxy(host.bucket.server, lose) as proxy:
        assert "broke off" in host.upload(user, server=proxy.server).trouble
    assert host.archived() == {}
    assert host.upload(user).trouble == ""
    assert versions(host, log.log) == stored
    report = host.verify()
    assert report.ok
    assert [each.kind for each in report.findings] == ["repeated"] * (stored - 1)


@pytest.mark.parametrize("user", ["writer", "admin"])
def test_foreign(host: ArchivingHost, user: str) -> None:
    log = host.write(segments=1)
    name = log.paths[0].name
    with closing(host.bucket.client("writer")) as stolen:
        key = f"v1/{log.log}/{name}.zst"
        stolen.put_object(Bucket=host.bucket.name, Key=key, Body=b"another")
    for _ in range(2):
        assert "not known to be ours" in host.upload(user).trouble
    assert host.archived() == {}
    with ArchiveMemory(host.state) as memory:
        assert memory.begun(log.log, name) is None, "the next 412 is not taken for an answer lost"


def test_foreign_that_is_seen_to_be_the_same(host: ArchivingHost) -> None:
    log = host.write(segments=1)
    host.upload()
    (host.state / "archive.sqlite").unlink()
    assert "not known to be ours" in host.upload("writer").trouble
    host.upload("admin")
    assert host.archived() == {log.log: [log.paths[0].name]}
