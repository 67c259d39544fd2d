from __future__ import annotations

import datetime as dt
import json
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import jsonschema
import pytest

import auditlog
from auditlog.events.base import ARCHIVE_SERVICE, ARCHIVE_TYPES
from auditlog.events.schema import record_schema
from shippers.archive.keys import manifest_of_key
from tests.shippers.archive.conftest import ArchivingHost
from tests.support.archiving_task import STEPS
from tests.support.forked import ForkServer
from tests.support.s3 import Disturbance, S3Proxy, secret_of
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.s3 import S3Bucket, S3Server


SCHEMA = record_schema()


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    with ForkServer() as server:
        yield server


@pytest.fixture(scope="module")
def one_bucket(s3_server: S3Server) -> S3Bucket:
    """A bucket for many hosts: the first object in a new one takes the server a second."""
    return s3_server.make_bucket()


def test_finished(host: ArchivingHost) -> None:
    first = host.write(segments=2)
    second = host.write(segments=1, service="rbee-hive")
    first.compress(0)
    status = host.upload()
    names = [path.name.removesuffix(".zst") for path in [*first.paths[:2], second.paths[0]]]
    assert (status.trouble, status.waiting, status.objects) == ("", 0, 3)
    assert host.archived() == {first.log: names[:2], second.log: names[2:]}
    report = host.verify()
    assert (report.findings, report.ok, report.objects, report.records) == ([], True, 3, 60)
    assert report.through == {first.log: 40, second.log: 20}
    first.rotate()
    first.append()
    assert host.upload().objects == 4, "a segment is finished as soon as there is a newer one"


def test_recorded(host: ArchivingHost) -> None:
    log = host.write()
    host.upload()
    seen = set()
    for record in auditlog.read(host.directory, log_events=True):
        if record.log == f"{ARCHIVE_SERVICE}@{host.name}":
            jsonschema.validate(json.loads(record.line), SCHEMA)
            seen.add(record.event_type)
    assert seen >= ARCHIVE_TYPES
    recorded = host.recorded()
    assert [each["segment"] for each in recorded] == [path.name for path in log.paths[:2]]
    with closing(host.bucket.opened()) as bucket:
        for each in recorded:
            state = bucket.state(each["key"], each["version"])
            assert (state.size_bytes, state.checksum) == (each["size_bytes"], each["checksum"])
    assert auditlog.verify(host.directory).ok


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_recorded_after_a_kill(
    tmp_path: Path, one_bucket: S3Bucket, forks: ForkServer, step: str, after: bool
) -> None:
    host = ArchivingHost(tmp_path, f"{step.replace('_', '-')}.{after}", one_bucket)
    log = host.write(segments=1)
    killed = forks.start(
        "tests.support.archiving_task:upload",
        directory=str(host.directory),
        state=str(host.state),
        url=one_bucket.server.url,
        bucket=one_bucket.name,
        secret=secret_of("writer"),
        step=step,
        after=after,
    )
    killed.go()
    assert killed.wait() == -9
    name = log.paths[0].name
    assert host.archived().get(log.log, []) in ([], [each["segment"] for each in host.recorded()])
    status = host.upload()
    assert (status.trouble, status.waiting, status.manifest) == ("", 0, 1)
    assert host.archived() == {log.log: [name]}
    report = host.verify()
    assert report.ok, report.findings
    assert report.objects == 1
    assert {each.kind for each in report.findings} <= {"repeated"}
    assert {each["version"] for each in host.recorded()} == {
        each["version"] for each in host.recorded()[-1:]
    }, "recorded again at most, as the same object"


def test_what_waits_is_told_while_the_first_upload_goes_on(host: ArchivingHost) -> None:
    host.write(segments=3)
    told: list[tuple[int, int]] = []

    def look(*_: object) -> Disturbance:
        status = service.status()
        told.append((status.waiting, status.objects))
        return None

    with S3Proxy(host.bucket.server, look) as proxy:
        service = host.service(server=proxy.server)
        done = service.run_once()
    assert told[0] == (3, 0)
    assert (done.waiting, done.waiting_bytes, done.objects) == (0, 0, 3)
    assert done.newest_at is not None


def test_manifests(host: ArchivingHost) -> None:
    log = host.write(segments=1)
    begin = dt.datetime.now(dt.UTC)
    listed = []
    for hour in range(3):
        at = begin + dt.timedelta(hours=hour)
        service = host.service(clock=lambda at=at: at)
        with service._opened() as memory:
            service._round(memory, threading.Event())
        log.rotate()
        log.append()
        status = service.status()
        assert (status.manifest, status.manifest_at) == (hour + 1, at)
        listed.append(host.verify().objects)
    assert listed == [1, 2, 3]
    numbers = [place for key in host.bucket.listed() if (place := manifest_of_key(key))]
    assert numbers == [(host.name, 1), (host.name, 2), (host.name, 3)]
    assert host.verify().ok


def test_goes_on(host: ArchivingHost) -> None:
    log = host.write(segments=3)
    key = f"v1/{log.log}/{log.paths[1].name}.zst"
    with closing(host.bucket.client("writer")) as stolen:
        stolen.put_object(Bucket=host.bucket.name, Key=key, Body=b"not the segment")
    status = host.upload()
    assert "not known to be ours" in status.trouble
    assert (status.objects, status.waiting) == (2, 1)
    assert host.archived() == {log.log: [log.paths[0].name, log.paths[2].name]}


def test_reopened(host: ArchivingHost) -> None:
    """The own log fails when its file is moved away, and is opened again when it is back."""
    log = host.write(segments=1)
    away = host.place / "away"
    with host.running(manifest_every=dt.timedelta(seconds=1)) as service:
        eventually(lambda: service.status().manifest)
        [own] = host.directory.glob(f"{ARCHIVE_SERVICE}@*.ndjson")
        own.rename(away)
        eventually(lambda: service._log is not None and service._log.stats().failed)
        away.rename(own)
        log.rotate()
        log.append()
        names = [path.name for path in log.paths[:2]]
        eventually(lambda: host.archived().get(log.log) == names)
    assert [each["segment"] for each in host.recorded()] == names
    assert auditlog.verify(host.directory).ok


FAULTS: list[Disturbance] = [
    (503, "SlowDown"),
    (403, "RequestTimeTooSkewed"),
    (400, "ExpiredToken"),
    (507, "InsufficientStorage"),
    (403, "AccessDenied"),
    "cut request",
    "lose response",
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_tried_again(tmp_path: Path, one_bucket: S3Bucket, fault: Disturbance) -> None:
    """Each request fails once; in between nothing counts as archived that is not."""
    host = ArchivingHost(tmp_path, f"fault-{FAULTS.index(fault)}", one_bucket)
    log = host.write(segments=1)
    failed: set[str] = set()

    def once(method: str, path: str, _: int) -> Disturbance:
        if method != "PUT" or path in failed:
            return None
        failed.add(path)
        return fault

    with S3Proxy(one_bucket.server, once) as proxy, host.running(server=proxy.server) as service:
        status = eventually(lambda: service.status().manifest and service.status())
    assert (status.trouble, status.waiting, status.failures) == ("", 0, len(failed))
    assert len(failed) == 2
    assert host.archived() == {log.log: [log.paths[0].name]}
    report = host.verify()
    assert report.ok, report.findings


def test_tried_again_and_told_meanwhile(host: ArchivingHost) -> None:
    host.write()
    with S3Proxy(host.bucket.server, lambda *_: (503, "SlowDown")) as proxy:
        status = host.upload(server=proxy.server)
    assert "SlowDown" in status.trouble
    assert (status.waiting, status.objects, status.failures) == (2, 0, 1)
    assert host.archived() == {}
    assert host.recorded() == []
