"""The agent archives what its writers finish; an archive that refuses stops nothing else."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from auditctl.agent.services import Services
from tests.auditctl.agent.test_services import config_of, shipped
from tests.support.logs import write_log
from tests.support.ports import free_port
from tests.support.s3 import secret_of
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from auditctl.config.model import Config
    from tests.support.s3 import S3Bucket

LOG = "queen-rbee@hive1"


def archiving(place: Path, bucket: S3Bucket, **changes: str) -> Config:
    secret = place / "secret"
    secret.write_text(secret_of("writer"))
    options = bucket.options(secret_access_key_file=secret, **changes)
    return replace(config_of(place), archive=options, host="hive1")


def test_archives(tmp_path: Path, s3_bucket: S3Bucket) -> None:
    write_log(tmp_path / "audit", LOG, records=10, segments=3)
    services = Services(archiving(tmp_path, s3_bucket), retain=False)
    services.start()
    archive = services.archive()
    assert archive is not None
    eventually(lambda: archive.status().manifest == 1)
    assert archive.unready() == []
    assert any("archives in http" in each for each in services.describe())
    services.stop()
    with closing(s3_bucket.opened()) as bucket:
        assert len(list(bucket.versions(f"v1/{LOG}/"))) == 2


def test_apart(tmp_path: Path, s3_bucket: S3Bucket) -> None:
    log = write_log(tmp_path / "audit", LOG, records=10, segments=2)
    nowhere = f"http://127.0.0.1:{free_port()}"
    services = Services(archiving(tmp_path, s3_bucket, endpoint=nowhere), retain=False)
    services.start()
    archive = services.archive()
    assert archive is not None
    eventually(lambda: any("cannot be reached" in reason for reason in archive.unready()))
    log.append(5)
    eventually(lambda: shipped(tmp_path) >= 25)
    services.stop()


def test_apart_from_another_that_uploads(tmp_path: Path, s3_bucket: S3Bucket) -> None:
    write_log(tmp_path / "audit", LOG, records=10, segments=2)
    config = archiving(tmp_path, s3_bucket)
    first = Services(config, retain=False)
    archive = first.archive()
    assert archive is not None
    with archive._service._opened():
        first.start()
        eventually(lambda: any("another process uploads" in each for each in archive.unready()))
        eventually(lambda: shipped(tmp_path) >= 20)
        first.stop()
