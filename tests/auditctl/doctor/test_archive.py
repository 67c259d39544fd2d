from __future__ import annotations

import datetime as dt
from contextlib import closing
from typing import TYPE_CHECKING

from auditctl.config.model import Config
from auditctl.doctor.archive import check_archive
from retention.policy import RetentionPolicy
from tests.support.s3 import secret_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.s3 import S3Bucket

DAY = dt.timedelta(days=1)


def states(place: Path, bucket: S3Bucket, user: str = "reader", **changes: object) -> list[str]:
    secret = place / "secret"
    secret.write_text(secret_of(user))
    options = bucket.options(user, secret_access_key_file=secret, **changes)
    policy = RetentionPolicy(overrides=(("rbee-hive@*", RetentionPolicy(delete_after=300 * DAY)),))
    config = Config(directories=(place,), archive=options, policy=policy)
    return [f"{each.state} {each.detail}" for each in check_archive(config)]


def test_shorter(tmp_path: Path, s3_bucket: S3Bucket) -> None:
    (good,) = states(tmp_path, s3_bucket)
    assert good.startswith("ok")
    assert good.endswith("Object Lock, GOVERNANCE for 365d; by default none")
    short, _ = states(tmp_path, s3_bucket, retain=200 * DAY)
    assert "locked for 200d, and the files on this host are kept for 300d" in short
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 400}}
    with closing(s3_bucket.client()) as client:
        client.put_object_lock_configuration(
            Bucket=s3_bucket.name,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
        )
    (longer,) = states(tmp_path, s3_bucket)
    assert longer.startswith("warn")
    assert "for 400d" in longer
    (same,) = states(tmp_path, s3_bucket, retain=400 * DAY)
    assert same.startswith("ok")


def test_unlocked(tmp_path: Path, s3_bucket: S3Bucket) -> None:
    (found,) = states(tmp_path, s3_bucket.server.make_bucket(lock=False))
    assert found.startswith("fail")


def test_unread(tmp_path: Path, s3_bucket: S3Bucket) -> None:
    (found,) = states(tmp_path, s3_bucket, "writer")
    assert found.startswith("ok")
    assert "may not read the bucket's lock" in found
    assert list(check_archive(Config(directories=(tmp_path,)))) == []
