"""A real Elasticsearch for tests: fetched once, started on loopback, killed and restarted at will.

    server = ElasticsearchServer.prepare(repository_root)      raises Unavailable, saying why
    server.start(); server.url; server.kill(); server.start(); server.stop()

    server.secure(certificates, {"alice": User("a password", ("auditor",))}, roles_file)
    makes a node that has not been started yet speak TLS alone and ask for credentials.

The distribution comes from Maven coordinates (the real server less its optional modules) through
the ``mvn`` command, into ``.cache/elasticsearch``.  It needs a JDK (21 or newer, for version 8 one
from 17 to 23) and a user other than root: when the tests run as root, the server runs as
``nobody``.  AUDITLOG_TEST_ELASTICSEARCH_VERSION names another version than 9.5.0.

Tests start servers more than they load them: a node is there after half the time (9.7 instead of
18 s of CPU) when Java compiles with its first compiler alone and collects with one thread.  What is
measured has to run as operators run it: ``prepare(root, tuned=True)``.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.support.ports import held_port

if TYPE_CHECKING:
    import trustme

__all__ = [
    "VERSION",
    "Cluster",
    "ElasticsearchServer",
    "SecuredCluster",
    "Unavailable",
    "User",
    "request",
]

VERSION: Final = os.environ.get("AUDITLOG_TEST_ELASTICSEARCH_VERSION", "9.5.0")
_ARTIFACT: Final = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}:zip"
_JAVA: Final = range(17, 24) if VERSION.startswith("8.") else range(21, 1000)
_START_SECONDS: Final = 240.0
_QUICK_START: Final = "-XX:TieredStopAtLevel=1 -XX:-UseG1GC -XX:+UseSerialGC"


class Unavailable(Exception):
    """No server can be started here; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server for tests, reached over HTTP."""

    url: str

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """As ``request``, as somebody who may do anything."""
        return request(self.url, method, path, body)

    def documents(self, pattern: str) -> dict[str, dict[str, Any]]:
        """Every document of the indices by _id, as searched, after a refresh."""
        self.ask("POST", f"/{pattern}/_refresh")
        found: dict[str, dict[str, Any]] = {}
        query: dict[str, Any] = {"size": 5000, "sort": [{"log": "asc"}, {"seq": "asc"}]}
        while True:
            status, answer = self.ask("POST", f"/{pattern}/_search", query)
            if status == 404 or not answer["hits"]["hits"]:
                return found
            for hit in answer["hits"]["hits"]:
                assert hit["_id"] not in found, f"{hit['_id']} is in two indices"
                found[hit["_id"]] = hit
            query["search_after"] = answer["hits"]["hits"][-1]["sort"]

    def anything(self, pattern: str) -> list[dict[str, Any]]:
        """Every document of the indices, whatever its fields; up to 10,000, after a refresh."""
        self.ask("POST", f"/{pattern}/_refresh")
        query = {"size": 10_000, "track_total_hits": True}
        status, answer = self.ask("POST", f"/{pattern}/_search", query)
        if status == 404:
            return []
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        assert len(hits) == answer["hits"]["total"]["value"], "there are more than were asked for"
        return hits

    def count(self, pattern: str) -> int:
        """How many documents the indices hold, after a refresh."""
        self.ask("POST", f"/{pattern}/_refresh")
        status, answer = self.ask("GET", f"/{pattern}/_count")
        return int(answer["count"]) if status == 200 else 0

    def forget(self, prefix: str) -> None:
        """Delete the indices and the template whose names start with the prefix."""
        status, indices = self.ask("GET", f"/{prefix}*/_settings?expand_wildcards=all")
        for index in indices if status == 200 else ():
            self.ask("DELETE", f"/{index}")
        self.ask("DELETE", f"/_index_template/{prefix}*")


@dataclass(frozen=True, slots=True)
class User:
    """A user of the file realm."""

    password: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SecuredCluster:
    """A node that speaks TLS alone; its user ``admin`` may do anything."""

    url: str
    authority: trustme.CA
    ca_file: Path
    users: Mapping[str, User]

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """As ``request``, as the administrator."""
        return request(self.url, method, path, body, **_as_admin(self.authority, self.users))


class ElasticsearchServer:
    """One node with its own home and data, which outlive a kill."""

    def __init__(self, home: Path, java_home: Path, user: int | None, java_options: str) -> None:
        self.home = home
        self._ports = (held_port(), held_port())
        self.port, self._transport_port = (held.getsockname()[1] for held in self._ports)
        self._java_home = java_home
        self._user = user
        self._java_options = java_options
        self._process: subprocess.Popen[bytes] | None = None
        self._secured: dict[str, str] = {}
        self._cluster: dict[str, str] = {}
        self._as_admin: dict[str, Any] = {}

    @classmethod
    def prepare(cls, root: Path, *, tuned: bool = False) -> ElasticsearchServer:
        """Fetch and unpack what is needed.  Raises Unavailable."""
        java_home = _find_java()
        archive = _fetch(root / ".cache" / "elasticsearch")
        user = _other_user() if os.geteuid() == 0 else None
        # Outside the checkout: the other user may not be allowed to pass through its parents.
        base = Path(tempfile.mkdtemp(prefix="auditlog-elasticsearch-"))
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(base)
        home = base / f"elasticsearch-{VERSION}"
        for program in (home / "bin").iterdir():
            program.chmod(0o755)
        if user is not None:
            for path in (base, *base.rglob("*")):
                os.chown(path, user, -1)
        return cls(home, java_home, user, "" if tuned else _QUICK_START)

    @property
    def url(self) -> str:
        return f"{'https' if self._secured else 'http'}://127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        """As the cluster calls it; empty for a node that is alone."""
        return self._cluster.get("node.name", "")

    @staticmethod
    def join(nodes: Sequence[ElasticsearchServer]) -> None:
        """Before the first start: make one cluster of these nodes.  ``launch`` all, then wait."""
        names = [f"node-{number}" for number in range(1, len(nodes) + 1)]
        for name, node in zip(names, nodes, strict=True):
            node._cluster = {
                "cluster.name": f"auditlog-test-{nodes[0].port}",
                "node.name": name,
                "discovery.seed_hosts": ",".join(f"127.0.0.1:{n._transport_port}" for n in nodes),
                "cluster.initial_master_nodes": ",".join(names),
            }

    def secure(self, authority: trustme.CA, users: Mapping[str, User], roles: str) -> None:
        """Before the first start: TLS with a certificate of the authority, users, roles.yml.

        ``users`` has to hold ``admin``.
        """
        config = self.home / "config"
        certificate = authority.issue_cert("127.0.0.1", "localhost", "es.example")
        certificate.private_key_pem.write_to_path(config / "node.key")
        # With the authority behind it, as Elasticsearch's own set-up does it: for fingerprints.
        for blob in (*certificate.cert_chain_pems, authority.cert_pem):
            blob.write_to_path(config / "node.pem", append=True)
        authority.cert_pem.write_to_path(config / "ca.pem")
        (config / "users").write_text(
            "".join(f"{name}:{_password_hash(user.password)}\n" for name, user in users.items())
        )
        members: dict[str, list[str]] = {}
        for name, user in users.items():
            for role in user.roles:
                members.setdefault(role, []).append(name)
        (config / "users_roles").write_text(
            "".join(f"{role}:{','.join(names)}\n" for role, names in members.items())
        )
        (config / "roles.yml").write_text(roles)
        if self._user is not None:
            for path in config.iterdir():
                os.chown(path, self._user, -1)
        self._secured = {
            "xpack.security.enabled": "true",
            "xpack.security.http.ssl.enabled": "true",
            "xpack.security.http.ssl.certificate": "node.pem",
            "xpack.security.http.ssl.key": "node.key",
            "xpack.security.http.ssl.certificate_authorities": "ca.pem",
            "xpack.security.http.ssl.client_authentication": "optional",
        }
        self._as_admin = _as_admin(authority, users)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """As ``request``, as the administrator where there is one."""
        return request(self.url, method, path, body, **self._as_admin)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the node on the same port and data as before and wait until it takes writes."""
        self.launch()
        self.wait_until_up()

    def launch(self) -> None:
        """Start without waiting, as several nodes of a cluster have to be."""
        settings = {
            **(self._cluster or {"discovery.type": "single-node"}),
            "xpack.security.enabled": "false",
            "network.host": "127.0.0.1",
            "http.port": str(self.port),
            "transport.port": str(self._transport_port),
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            **self._secured,
        }
        command = [str(self.home / "bin" / "elasticsearch")]
        for name, value in settings.items():
            command += ["-E", f"{name}={value}"]
        if setpriv := shutil.which("setpriv"):
            # Should the test run itself be killed, the server goes with it.
            command = [setpriv, "--pdeathsig", "KILL", *command]
        temporary = self.home / "tmp"
        temporary.mkdir(exist_ok=True)
        identity: dict[str, Any] = {}
        if self._user is not None:
            os.chown(temporary, self._user, -1)
            identity = {"user": self._user, "extra_groups": []}
        with (self.home.parent / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                start_new_session=True,
                env={
                    "PATH": "/usr/bin:/bin",
                    "ES_JAVA_HOME": str(self._java_home),
                    "ES_JAVA_OPTS": f"-Xms512m -Xmx512m {self._java_options}",
                    "CLI_JAVA_OPTS": self._java_options,  # for the program that starts it
                    "ES_TMPDIR": str(temporary),
                },
                **identity,
            )

    def kill(self) -> None:
        """SIGKILL to the launcher and the server, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """An orderly shutdown."""
        self._end(signal.SIGTERM)

    def discard(self) -> None:
        """Kill the node and remove everything it left."""
        self.kill()
        for held in self._ports:
            held.close()
        shutil.rmtree(self.home.parent, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
        deadline = time.monotonic() + 10
        while _group_lives(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                status, health = self.request(
                    "GET", "/_cluster/health?wait_for_status=yellow&timeout=5s"
                )
            except (OSError, http.client.HTTPException):
                status, health = 0, {}
            if status == 401:
                break  # it is up, and will never let us in
            if status == 200 and not health.get("timed_out"):
                return
            time.sleep(0.2)
        text = (self.home.parent / "server.log").read_text(errors="replace")[-2000:]
        self.kill()
        raise Unavailable(f"Elasticsearch did not start; the end of its log: {text}")


def request(
    url: str,
    method: str,
    path: str,
    body: Any = None,
    *,
    context: ssl.SSLContext | None = None,
    authorization: str = "",
) -> tuple[int, Any]:
    """One JSON request without any client of ours in between: status and parsed answer."""
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if content is not None else {}
    if authorization:
        headers["Authorization"] = authorization
    asked = urllib.request.Request(f"{url}{path}", content, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=60, context=context) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def _as_admin(authority: trustme.CA, users: Mapping[str, User]) -> dict[str, Any]:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    token = base64.b64encode(f"admin:{users['admin'].password}".encode()).decode()
    return {"context": context, "authorization": f"Basic {token}"}


def _find_java() -> Path:
    candidates = [Path(home)] if (home := os.environ.get("ES_JAVA_HOME")) else []
    candidates += sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)
    best: tuple[int, Path] | None = None
    for candidate in candidates:
        program = candidate / "bin" / "java"
        if not program.is_file():
            continue
        text = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
        match = re.search(r'version "(\d+)', text.stderr)
        if match and int(match[1]) in _JAVA and (best is None or int(match[1]) > best[0]):
            best = (int(match[1]), candidate)
    if best is None:
        needed = f"{_JAVA[0]} to {_JAVA[-1]}" if _JAVA[-1] < 99 else f"{_JAVA[0]} or newer"
        raise Unavailable(f"no JDK {needed} (ES_JAVA_HOME, /usr/lib/jvm)")
    return best[1]


def _fetch(cache: Path) -> Path:
    archive = cache / f"elasticsearch-{VERSION}.zip"
    if archive.is_file() and zipfile.is_zipfile(archive):
        return archive
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("no mvn command to fetch Elasticsearch with")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as place:  # whole, or not there for anybody
        # -U has the second attempt ask again for what the first did not get.
        command = [maven, "-q", "-B", "-U", "dependency:copy"]
        command += [f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={place}"]
        for _ in range(2):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            fetched = Path(place, archive.name)
            if done.returncode == 0 and zipfile.is_zipfile(fetched):
                return fetched.replace(archive)
    raise Unavailable(f"mvn could not fetch {_ARTIFACT}: {(done.stdout + done.stderr)[-500:]}")


def _password_hash(password: str) -> str:
    """As ``password_hashing.algorithm: pbkdf2_1000`` makes them; every version reads them."""
    salt = secrets.token_bytes(32)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 1000, 32)
    return f"{{PBKDF2}}1000${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _other_user() -> int:
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return 65_534


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
