"""A real S3 server with Object Lock, and a proxy that disturbs its requests.

    bucket = server.make_bucket()              with Object Lock; each test has its own
    bucket.options(retain=…), bucket.client("reader")

Three keys: ``admin`` may do everything, ``writer`` only s3:PutObject and s3:PutObjectRetention (as
docs/archive.md gives the agent), ``reader`` only read.

The server is SeaweedFS, from PyPI.  AUDITLOG_TEST_S3=versitygw takes another one, for a second
opinion (tests.support.versitygw).
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from auditctl.demo.object_store import ObjectStoreProcess, client_of, secret_of
from auditctl.demo.stage import DemoFailed
from shippers.archive.options import ArchiveOptions
from tests.support.programs import not_run
from tests.support.versitygw import allow, start_versitygw

if TYPE_CHECKING:
    from shippers.archive.bucket import Bucket

__all__ = ["SERVER", "S3Bucket", "S3Proxy", "S3Server", "secret_of", "start_server"]

SERVER: Final = os.environ.get("AUDITLOG_TEST_S3", "seaweedfs")


def start_server(place: Path, stop: ExitStack) -> dict[str, Any]:
    """Start the chosen server on loopback below ``place`` and describe it, or why there is none."""
    return {"seaweedfs": _start_seaweedfs, "versitygw": start_versitygw}[SERVER](place, stop)


def _start_seaweedfs(place: Path, stop: ExitStack) -> dict[str, Any]:
    try:
        return {"url": stop.enter_context(ObjectStoreProcess(place)).url}
    except DemoFailed as error:
        return {"reason": str(error)}


@dataclass(frozen=True)
class S3Server:
    """A server; with ``policies`` each bucket needs one that names what the keys may do."""

    url: str
    policies: bool = False

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> S3Server:
        if reason := described.get("reason"):
            not_run("PROGRAMS", f"against a real S3 server: {reason}")
        return cls(**described)

    def client(self, user: str = "admin") -> Any:
        return client_of(self.url, user)

    def make_bucket(self, *, lock: bool = True, name: str = "") -> S3Bucket:
        name = name or f"audit-{uuid.uuid4().hex[:12]}"
        client = self.client()
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
        if self.policies:
            allow(client, name)
        client.close()
        return S3Bucket(self, name)


@dataclass(frozen=True)
class S3Bucket:
    """A bucket of a test's own."""

    server: S3Server
    name: str

    def options(self, user: str = "writer", **changes: Any) -> ArchiveOptions:
        defaults: dict[str, Any] = {
            "bucket": self.name,
            "endpoint": self.server.url,
            "access_key_id": user,
            "secret_access_key_file": Path("/the/secret"),
        }
        return ArchiveOptions(**(defaults | changes))

    def opened(self, user: str = "reader", **changes: Any) -> Bucket:
        """Our own client of it, which the caller closes."""
        from shippers.archive.bucket import Bucket

        return Bucket(self.options(user, **changes), secret_of(user))

    def client(self, user: str = "admin") -> Any:
        return self.server.client(user)

    def listed(self) -> list[str]:
        with contextlib.closing(self.opened()) as bucket:
            return [each.key for each in bucket.versions("")]

    def settings(self, place: Path, user: str = "writer", **more: str) -> str:
        """The [archive] table of a configuration; writes the secret to a file in ``place``."""
        secret = place / f"{user}.secret"
        secret.write_text(secret_of(user))
        lines = {
            "bucket": self.name,
            "endpoint": self.server.url,
            "access_key_id": user,
            "secret_access_key_file": str(secret),
            **more,
        }
        return "[archive]\n" + "".join(f'{name} = "{value}"\n' for name, value in lines.items())


Answer = tuple[int, str]
"""A status and the code of an error of S3."""
Disturbance = Answer | str | None
"""An answer instead of the server's; "cut request", "lose response", or None: pass it on."""


class S3Proxy:
    """Passes requests on to a server, except those that ``disturb`` has something else for.

    ``disturb`` is called with the method, the path with its query, and the number of the request.
    """

    def __init__(self, server: S3Server, disturb: Callable[[str, str, int], Disturbance]) -> None:
        self.disturb = disturb
        self.seen: list[tuple[str, str, Disturbance]] = []
        upstream = int(server.url.rpartition(":")[2])
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    while _pass_on(self.rfile, self.connection, upstream, proxy):
                        pass

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.server = S3Server(f"http://127.0.0.1:{self._server.server_address[1]}")
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _head(stream: Any) -> tuple[bytes, dict[bytes, bytes]]:
    lines = []
    while (line := stream.readline()) not in (b"\r\n", b""):
        lines.append(line)
    head = b"".join(lines)
    headers = dict(line.lower().rstrip().split(b": ", 1) for line in lines[1:] if b": " in line)
    return head, headers


def _pass_on(client: Any, connection: socket.socket, upstream: int, proxy: S3Proxy) -> bool:
    """Handle one request of a connection; False when there is no further one."""
    head, headers = _head(client)
    if not head:
        return False
    method, path = head.split(b" ")[:2]
    if b"expect" in headers:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = b"".join(
            line
            for line in head.splitlines(keepends=True)
            if not line.lower().startswith(b"expect")
        )
    body = client.read(int(headers.get(b"content-length", 0)))
    asked = method.decode(), path.decode()
    done = proxy.disturb(*asked, len(proxy.seen))
    proxy.seen.append((*asked, done))
    if isinstance(done, tuple):
        text = f"<Error><Code>{done[1]}</Code><Message>no</Message></Error>".encode()
        start = f"HTTP/1.1 {done[0]} No\r\nContent-Length: {len(text)}\r\n\r\n".encode()
        connection.sendall(start + (b"" if method == b"HEAD" else text))
        return True
    with socket.create_connection(("127.0.0.1", upstream)) as server:
        if done == "cut request":
            server.sendall(head + b"\r\n" + body[: len(body) // 2])
            return False
        server.sendall(head + b"\r\n" + body)
        for piece in _response(server.makefile("rb"), method):
            if done == "lose response":
                return False  # only now: the server has done it
            connection.sendall(piece)
    return True


def _response(server: Any, method: bytes) -> Iterator[bytes]:
    head, headers = _head(server)
    yield head + b"\r\n"
    if method == b"HEAD" or head.split(b" ")[1] in (b"204", b"304"):
        return
    if headers.get(b"transfer-encoding") == b"chunked":
        while True:
            size = server.readline()
            yield size + server.read(int(size, 16) + 2)
            if int(size, 16) == 0:
                return
    left = int(headers.get(b"content-length", 0))
    while left:
        piece = server.read(min(left, 1 << 16))
        left -= len(piece)
        yield piece
