from __future__ import annotations

import datetime as dt
from contextlib import closing
from typing import TYPE_CHECKING, Any

from auditlog.archived import ArchiveMemory
from auditlog.format.erasures import ERASURE
from shippers.archive.keys import manifest_key
from tests.support.erasures import erase, erasure_details
from tests.support.logs import LogBuilder

if TYPE_CHECKING:
    from tests.shippers.archive.conftest import ArchivingHost

BYPASS = {"BypassGovernanceRetention": True}


def put_over(client: Any, where: dict[str, str], _: str) -> None:
    client.put_object(**where, Body=b"something else")


def hide(client: Any, where: dict[str, str], _: str) -> None:
    client.delete_object(**where)


def remove(client: Any, where: dict[str, str], version: str) -> None:
    client.delete_object(**where, VersionId=version, **BYPASS)


def replace_bytes(client: Any, where: dict[str, str], version: str) -> None:
    remove(client, where, version)
    put_over(client, where, version)


def shorten(client: Any, where: dict[str, str], version: str) -> None:
    until = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    lock = {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    client.put_object_retention(**where, VersionId=version, Retention=lock, **BYPASS)


DONE = (put_over, hide, remove, replace_bytes, shorten)
KINDS = {
    put_over: {"put_over"},
    hide: {"delete_marker"},
    remove: {"missing_object"},
    replace_bytes: {"missing_object", "put_over"},
    shorten: {"lock_shortened"},
}
KINDS_OF_MANIFESTS = KINDS | {remove: set(), replace_bytes: {"manifest_changed"}}


def test_named(host: ArchivingHost) -> None:
    """A segment and a manifest for each thing that can be done, and one of each left alone."""
    log = host.write(segments=1)
    host.upload()
    for _ in range(2 * len(DONE)):
        log.rotate()
        log.append(5)
        host.upload()
    segments = [f"v1/{log.log}/{path.name}.zst" for path in log.paths[:-1]]
    manifests = [manifest_key(host.name, number) for number in range(1, len(segments) + 1)]
    expected = {key: KINDS[done] for key, done in zip(segments, DONE, strict=False)}
    with closing(host.bucket.opened()) as bucket, closing(host.bucket.client("admin")) as client:
        damaged = manifests[len(DONE) : 2 * len(DONE)]
        for key, done in (*zip(segments, DONE, strict=False), *zip(damaged, DONE, strict=True)):
            version = bucket.state(key).version
            done(client, {"Bucket": host.bucket.name, "Key": key}, version)
    expected |= {key: KINDS_OF_MANIFESTS[done] for key, done in zip(damaged, DONE, strict=True)}
    # The one behind a manifest that is missing cannot be checked, the others do not follow it.
    expected[damaged[3]] = {"missing_manifest", "manifest_changed"}
    expected[damaged[4]] = {"manifest_changed", "lock_shortened"}
    for read in (True, False):
        report = host.verify(read=read)
        found: dict[str, set[str]] = {}
        for each in report.findings:
            if each.kind != "chain":  # of records in objects that are gone
                found.setdefault(each.key, set()).add(each.kind)
        assert found == {key: kinds for key, kinds in expected.items() if kinds}
        assert not report.ok


def test_named_when_the_newest_manifest_is_gone(host: ArchivingHost) -> None:
    """The bucket alone cannot tell; the host's memory can, and so can every sink."""
    host.write()
    host.upload()
    key = manifest_key(host.name, 1)
    with closing(host.bucket.opened()) as bucket:
        version = bucket.state(key).version
    with closing(host.bucket.client("admin")) as client:
        remove(client, {"Bucket": host.bucket.name, "Key": key}, version)
    with ArchiveMemory(host.state, read_only=True) as memory:
        report = host.verify(newest=memory.newest_manifest())
    assert [each.kind for each in report.findings] == ["missing_manifest"]
    assert not host.verify().ok, "nothing to verify is no success"


def test_proven(host: ArchivingHost) -> None:
    """A record that was changed before its segment was archived is found by the chain."""
    log = host.write(segments=2)
    lines = log.paths[1].read_bytes().replace(b"alice", b"mally", 1)
    log.paths[1].write_bytes(lines)
    host.upload()
    report = host.verify()
    assert [(each.kind, each.key) for each in report.findings] == [("chain", log.paths[1].name)]
    assert "hash_mismatch" in report.findings[0].detail
    assert host.verify(read=False).ok


def test_proven_over_segments(host: ArchivingHost) -> None:
    log = host.write(segments=3)
    log.paths[1].unlink()
    host.upload()
    report = host.verify()
    assert [each.kind for each in report.findings] == ["chain"]
    assert "records 21 to 40 are missing" in report.findings[0].detail


def test_proven_although_a_record_was_erased_before(host: ArchivingHost) -> None:
    """Without the erasure it is a note: that stands in a segment that is not archived yet."""
    log = host.write(segments=1)
    line = log.lines[4]
    erase(log, 5, proven=False)
    host.upload()
    report = host.verify()
    assert [(each.kind, each.fatal) for each in report.findings] == [("erased", False)]
    assert (report.ok, report.records) == (True, 20)
    retention = LogBuilder(host.directory, f"retention@{host.name}")
    retention.append(1, event_type=ERASURE, details=erasure_details(line, log.paths[0].name))
    retention.rotate()
    retention.append()
    host.upload()
    assert host.verify().findings == []
