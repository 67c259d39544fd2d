"""Whatever answers where a cluster or a bucket should: what it is not, where, and what to do.

Each server is one of a table, at the wire; each command meets each of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from auditctl.agent.services import Services
from auditctl.config.model import load
from tests.auditctl.conftest import Result
from tests.support.logs import write_log
from tests.support.waiting import eventually


def answer(status: str, kind: str, body: str, **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *lines, f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", body]).encode()


PAGE: Final = "<html><body>secret content<br></body></html>"
NOT_HERE: Final = '{"detail":"secret content"}'
REFUSED: Final = "<Error><Code>AccessDenied</Code><Message>secret content</Message></Error>"
NAMED: Final = '{"name":"secret content","version":{"number":"9.5.0"}}'


@dataclasses.dataclass(frozen=True)
class Strange:
    """A server: ``says`` to each method ("": to every other), or at once without being asked.

    ``sink`` and ``archive`` are what commands say of it; "" where it is no stranger to them.
    """

    says: Mapping[str, bytes | None]
    sink: str
    archive: str
    at_once: bool = False
    tls: bool = False
    scheme: str = "http"

    def words(self, kind: str) -> str:
        return self.sink if kind == "sink" else self.archive


NEITHER: Final = "this is not Elasticsearch or OpenSearch: it answered with status"
NOT_S3: Final = "this is not S3: it answered"
ELSE: Final = "not in JSON: something else than Elasticsearch or OpenSearch answers there"
NOT_HTTP: Final = "the server does not speak HTTP there"

SERVERS: Final = {
    "page": Strange({"": answer("200 OK", "text/html", PAGE)}, f"{NEITHER} 200, text/html", NOT_S3),
    "login": Strange(
        {"": answer("302 Found", "text/html", PAGE, Location="https://sso.invalid/login")},
        f"{NEITHER} 302, text/html",
        f"{NOT_S3} with status 302, text/html",
    ),
    "other-json": Strange(
        {"": answer("200 OK", "application/json", "{}")}, f"{NEITHER} 200, application/json", NOT_S3
    ),
    "other-api": Strange(
        {"": answer("404 Not Found", "application/json", NOT_HERE)},
        f"{NEITHER} 404, application/json",
        f"{NOT_S3} with status 404, application/json",
    ),
    "files": Strange(
        {
            "GET": answer("200 OK", "text/html", PAGE),
            "": answer("405 Method Not Allowed", "text/html", PAGE, Server="nginx/1.26"),
        },
        r"this is not Elasticsearch or OpenSearch: it answered with status (200|405), text/html",
        NOT_S3,
    ),
    "s3": Strange(
        {"": answer("403 Forbidden", "application/xml", REFUSED)}, f"answered 403, {ELSE}", ""
    ),
    "forbidden": Strange(
        {"": answer("403 Forbidden", "text/html", PAGE)},
        f"answered 403, {ELSE}",
        f"{NOT_S3} with status 403, text/html",
    ),
    "unauthorized": Strange(
        {"": answer("401 Unauthorized", "text/html", PAGE, WWW_Authenticate="Basic realm=x")},
        rf"refuses the credentials \(401\), {ELSE}",
        f"{NOT_S3} with status 401, text/html",
    ),
    "wrong-product": Strange(
        {"": answer("200 OK", "application/json", NAMED, X_Elastic_Product="Elasticsearch 2")},
        f"{NEITHER} 200, application/json",
        NOT_S3,
    ),
    # botocore passes over a line that comes before a body was sent.
    "ssh": Strange(
        {"": b"SSH-2.0-OpenSSH_9.2p1\r\n"}, NOT_HTTP, f"{NOT_HTTP}|ReadTimeoutError", at_once=True
    ),
    "http-0.9": Strange({"": b"\x00\x01 secret content\r\n"}, NOT_HTTP, NOT_HTTP),
    "tls": Strange(
        {}, "speaks TLS there|cannot connect", "speaks TLS there|cannot be reached", tls=True
    ),
    "no-tls": Strange(
        {"": answer("400 Bad Request", "text/html", PAGE)},
        "the server does not speak TLS there",
        "the server does not speak TLS there",
        at_once=True,
        scheme="https",
    ),
    "silent": Strange({"": None}, "no answer within|does not answer", "ReadTimeoutError"),
}


class Handler(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        strange: Strange = self.server.strange
        with contextlib.suppress(OSError, ValueError):
            if strange.tls:
                self.server.context.wrap_socket(self.connection, server_side=True)
            while True:
                method = ""
                if not strange.at_once:
                    method = self.rfile.readline().decode("latin-1").partition(" ")[0]
                    if not method:
                        return
                    self.server.asked.append(method)
                    self._read_request()
                said = strange.says.get(method, strange.says[""])
                if said is None:
                    self.server.ended.wait()
                    return
                self.wfile.write(said)
                if strange.at_once:
                    self.rfile.read()
                    return

    def _read_request(self) -> None:
        length = 0
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            name, _, value = line.lower().partition(b":")
            if name == b"expect":
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if name == b"content-length":
                length = int(value)
        self.rfile.read(length)


@contextlib.contextmanager
def serving(strange: Strange) -> Iterator[tuple[str, list[str]]]:
    """Serve on loopback; yields the URL and the methods of the requests that came."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        server.strange, server.asked, server.ended = strange, [], threading.Event()  # type: ignore[attr-defined]  # the handler's
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # type: ignore[attr-defined]  # as above
        trustme.CA().issue_cert("127.0.0.1").configure_cert(server.context)  # type: ignore[attr-defined]  # as above
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"{strange.scheme}://127.0.0.1:{server.server_address[1]}", server.asked  # type: ignore[attr-defined]  # as above
        finally:
            server.ended.set()  # type: ignore[attr-defined]  # as above
            server.shutdown()
            thread.join()


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Path]:
    """Write a configuration whose cluster and bucket are at this address."""
    write_log(tmp_path / "audit", "queen-rbee@hive1", records=5, segments=2)
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    secret.chmod(0o600)

    def write(kind: str, url: str) -> Path:
        config = tmp_path / "config.toml"
        text = f'host = "hive1"\ndirectories = ["{tmp_path}/audit"]\nmetrics = ""\n'
        text += f'state_dir = "{tmp_path}/state"\n'
        if kind == "sink":
            text += f'[sinks.main]\nkind = "elasticsearch"\nurls = ["{url}"]\n'
            text += 'request_timeout = "2s"\n'
        else:
            text += f'[archive]\nbucket = "audit"\nendpoint = "{url}"\n'
            text += f'access_key_id = "id"\nsecret_access_key_file = "{secret}"\n'
        config.write_text(text)
        return config

    return write


COMMANDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "ship": ("sink", ("ship", "--once", "--give-up-after", "1s")),
    "setup": ("sink", ("setup", "elasticsearch", "--dry-run")),
    "reconcile": ("sink", ("reconcile", "--give-up-after", "1s")),
    "search": ("sink", ("search", "", "--source", "main")),
    "fleet": ("sink", ("fleet",)),
    "doctor": ("sink", ("doctor",)),
    "archive-upload": ("archive", ("archive", "upload")),
    "archive-verify": ("archive", ("archive", "verify")),
    "archive-search": ("archive", ("archive", "search", "actor.user_id=bob")),
    "archive-restore": ("archive", ("archive", "restore", "--to", "restored")),
    "archive-doctor": ("archive", ("doctor",)),
}


@pytest.mark.parametrize(
    ("command", "strange"),
    [
        (command, strange)
        for command, (kind, _) in COMMANDS.items()
        for strange, server in SERVERS.items()
        if server.words(kind)
    ],
)
def test_is_named_once_and_for_all(
    run: Callable[..., Result],
    configured: Callable[[str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    command: str,
    strange: str,
) -> None:
    server = SERVERS[strange]
    kind, arguments = COMMANDS[command]
    words = server.words(kind)
    monkeypatch.chdir(tmp_path)
    with serving(server) as (url, asked):
        if kind == "archive":
            monkeypatch.setattr("shippers.archive.bucket._READ_SECONDS", 2)
        done = run(*arguments, "--config", configured(kind, url))
    said = " ".join((done.err + done.out).split())
    assert done.code == 1, said
    assert re.search(words, said), said
    assert url.rpartition("/")[2] in said, "the address is named"
    assert "secret content" not in said
    assert "Traceback" not in said
    assert "bug in auditctl" not in said
    assert re.search(r"\b(Check|Is|Correct|see)\b", said), "what to do"
    if command != "ship" and strange != "silent":
        assert len(asked) <= 6, f"asked again and again: {asked}"


@pytest.mark.parametrize(
    ("kind", "strange"),
    [
        (kind, strange)
        for kind in ("sink", "archive")
        for strange, server in SERVERS.items()
        if server.words(kind)
    ],
)
def test_an_agent_tells_it_and_goes_on(
    configured: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, kind: str, strange: str
) -> None:
    """It is no reason to end: the server may be there later."""
    server = SERVERS[strange]
    words = server.words(kind)
    monkeypatch.setattr("shippers.archive.bucket._READ_SECONDS", 2)
    with serving(server) as (url, _):
        services = Services(load(configured(kind, url)), retain=False)
        services.start()

        def told() -> str:
            if kind == "archive":
                archive = services.archive()
                return "" if archive is None else archive.status().trouble
            stats = services.shipping()
            sinks = () if stats is None else stats.sinks
            return next((each.trouble for each in sinks), "")

        try:
            eventually(lambda: re.search(words, told()))
            assert services.running
        finally:
            services.stop()
