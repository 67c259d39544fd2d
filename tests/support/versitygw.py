"""A second S3 server with Object Lock: Versity's gateway, whose buckets are directories.

It shares no code with SeaweedFS, so that a test which passes with both depends on neither.  It is
built from its source once, into ``.cache/versitygw``, which needs Go.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from auditctl.demo.object_store import client_of, secret_of
from tests.support.ports import held_port

__all__ = ["VERSION", "allow", "start_versitygw"]

VERSION: Final = "v1.8.0"
_MODULE: Final = "github.com/versity/versitygw/cmd/versitygw"
_BUILT: Final = Path(__file__).parents[2] / ".cache/versitygw"
_PATIENCE_SECONDS: Final = 120.0
_ROLES: Final = {"admin": "admin", "writer": "user", "reader": "user"}
_OF_OBJECTS: Final = {
    "admin": ["s3:BypassGovernanceRetention"],
    "writer": ["s3:PutObject", "s3:PutObjectRetention"],
    "reader": ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention"],
}
_OF_BUCKETS: Final = {
    "reader": ["s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketObjectLockConfiguration"],
}
"""As docs/archive.md gives them; a policy stands in its bucket."""


def start_versitygw(place: Path, stop: ExitStack) -> dict[str, Any]:
    """Start a server on loopback below ``place`` and describe it, or say why there is none."""
    try:
        program = _build()
    except OSError as error:
        return {"reason": str(error)}
    for name in ("users", "buckets", "versions"):
        (place / name).mkdir(parents=True)
    accounts = {
        user: {"access": user, "secret": secret_of(user), "role": role}
        for user, role in _ROLES.items()
    }
    (place / "users/users.json").write_text(json.dumps({"accessAccounts": accounts}))
    held = stop.enter_context(held_port())
    address = f"127.0.0.1:{held.getsockname()[1]}"
    command = [str(program), "--access", "root", "--secret", secret_of("root"), "--quiet"]
    command += ["--port", address, "--iam-dir", str(place / "users")]
    command += ["posix", "--versioning-dir", str(place / "versions"), str(place / "buckets")]
    log = stop.enter_context((place / "log").open("wb"))
    process = subprocess.Popen(command, stdout=log, stderr=log, process_group=0)
    stop.callback(process.wait)
    stop.callback(process.kill)
    url = f"http://{address}"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (refusal := _refuses(url)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    if refusal:
        told = (place / "log").read_text(errors="replace")[-1000:]
        return {"reason": f"versitygw does not serve ({refusal}): {told}"}
    return {"url": url, "policies": True}


def allow(client: Any, bucket: str) -> None:
    """Give the users of a new bucket what they may do with it."""
    statements = [
        {"Effect": "Allow", "Principal": {"AWS": [user]}, "Action": actions, "Resource": [resource]}
        for resource, given in (
            (f"arn:aws:s3:::{bucket}/*", _OF_OBJECTS),
            (f"arn:aws:s3:::{bucket}", _OF_BUCKETS),
        )
        for user, actions in given.items()
    ]
    policy: Mapping[str, Any] = {"Version": "2012-10-17", "Statement": statements}
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def _refuses(url: str) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    client = client_of(url)
    try:
        client.list_buckets()
    except (BotoCoreError, ClientError) as error:
        return type(error).__name__
    finally:
        client.close()
    return ""


def _build() -> Path:
    """Return the program, which is built where it is not there.  Raises OSError."""
    program = _BUILT / VERSION / "versitygw"
    go = shutil.which("go")
    if go is None:
        raise OSError("versitygw is built with Go, which is missing")
    program.parent.mkdir(parents=True, exist_ok=True)
    with (program.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            done = subprocess.run(
                [go, "install", f"{_MODULE}@{VERSION}"],
                env={**os.environ, "CGO_ENABLED": "0", "GOBIN": str(program.parent)},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise OSError(f"versitygw cannot be built: {done.stderr.strip()[-500:]}")
    return program
