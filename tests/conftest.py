"""Fixtures every test may use: real servers, and names of a test's own there.

Tests run in several processes (``make test``; pytest-xdist), a file at a time.  The servers that
all files share are started once a run.  A test that kills its server gets one of its own.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from shippers.sinks.elasticsearch.opensearch_roles import OPENSEARCH_ROLES
from tests.support.elasticsearch import (
    Cluster,
    ElasticsearchServer,
    SecuredCluster,
    Unavailable,
    User,
)
from tests.support.opensearch import OpenSearchCluster, OpenSearchServer
from tests.support.programs import NOT_TESTED, not_run
from tests.support.shared import shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.s3 import S3Bucket, S3Server

# A loaded machine draws and runs slowly: how long an example takes says nothing about the code.
settings.register_profile("auditlog", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("auditlog")

_NEED_A_SERVER = {
    "elasticsearch",
    "killable_elasticsearch",
    "opensearch",
    "secured_elasticsearch",
}
_ROOT = Path(__file__).parent.parent
_DAY_SECONDS = 86_400
_QUIET_SECONDS = 30
"""No test begins within so many seconds before midnight UTC."""
_USERS = {
    "admin": User("the admin's passw0rd", ("superuser",)),
    "shipper": User("the shipper's passw0rd", ("auditlog_shipper",)),
    "auditor": User("the auditor's passw0rd", ("auditlog_auditor",)),
    "reconciler": User("the reconciler's passw0rd", ("auditlog_shipper", "auditlog_auditor")),
    "setup": User("the set-up's passw0rd", ("auditlog_setup",)),
    "erasure": User("the eraser's passw0rd", ("auditlog_erasure",)),
    "index_retention": User("the janitor's passw0rd", ("auditlog_index_retention",)),
    "nobody": User("nobody's passw0rd", ()),
}
_FIRST = (
    "tests/chaos/test_chaos.py",
    "tests/operations/test_live.py",
    "tests/end_to_end/test_pipeline.py",
    "tests/chaos/test_cluster.py",
    "tests/power/",
    "tests/chaos/test_leak.py",
    "tests/durability/",
    "tests/end_to_end/",
    "tests/operations/",
    "tests/test_documents.py",
    "tests/shippers/test_service.py",
)
"""The files that take longest, longest first: started last, they would be waited for alone."""


def pytest_configure() -> None:
    # A shell has what it starts in the background ignore Ctrl-C, and every child inherits that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Not for the programs that run here: a person's terminal, gzip, and auditctl's settings.
    ours = ("AUDITLOG_CONFIG", "AUDITLOG_DEBUG", "AUDITLOG_PASSWORD", "AUDITLOG_API_KEY")
    for name in ("COLUMNS", "LINES", "GZIP", *ours):
        os.environ.pop(name, None)
    # A configured proxy is for fetching packages: servers on this host are reached directly.
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))


def pytest_xdist_auto_num_workers() -> int:
    """``-n auto``: two processes a core, since the tests wait as much as they compute."""
    return 2 * len(os.sched_getaffinity(0))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    # A day's change adds a segment and a record; tests of it have clocks of their own.
    to_midnight = _DAY_SECONDS - time.time() % _DAY_SECONDS
    if to_midnight < _QUIET_SECONDS:
        time.sleep(to_midnight + 0.1)


def _rank(item: pytest.Item) -> int:
    return next((n for n, start in enumerate(_FIRST) if item.nodeid.startswith(start)), len(_FIRST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_rank)
    for item in items:
        if _NEED_A_SERVER & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.elasticsearch)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", ()):
        _, found, reason = str(report.longrepr[2]).partition(NOT_TESTED)
        if found:
            reasons[reason] += 1
    for reason, tests in sorted(reasons.items()):
        line = f"{NOT_TESTED}{tests} test(s): {reason}"
        terminalreporter.write_line(line, red=True, bold=True)


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all processes of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def _started(
    stop: ExitStack, change: Callable[[ElasticsearchServer], dict[str, Any]]
) -> dict[str, Any]:
    """Start a node and describe it for all processes: how to reach it, or why there is none."""
    try:
        server = ElasticsearchServer.prepare(_ROOT)
        stop.callback(server.discard)
        described = change(server)
        server.start()
    except Unavailable as error:
        return {"reason": str(error)}
    return {"url": server.url, **described}


@pytest.fixture(scope="session")
def _open_node(run_directory: Path) -> Iterator[dict[str, Any]]:
    if url := os.environ.get("AUDITLOG_TEST_ELASTICSEARCH_URL"):
        yield {"url": url.rstrip("/")}
        return
    with shared(run_directory, "elasticsearch", lambda stop: _started(stop, lambda _: {})) as node:
        yield node


@pytest.fixture
def elasticsearch(_open_node: dict[str, Any]) -> Cluster:
    """A running cluster, the same for the whole run; a test has names of its own there."""
    if reason := _open_node.get("reason"):
        not_run("ELASTICSEARCH", f"against a real Elasticsearch: {reason}")
    return Cluster(_open_node["url"])


@pytest.fixture(scope="session")
def _secured_node(run_directory: Path) -> Iterator[dict[str, Any]]:
    import trustme  # what only these tests need

    def secure(server: ElasticsearchServer) -> dict[str, Any]:
        authority = trustme.CA()
        roles = (_ROOT / "deploy/elasticsearch/roles.yml").read_text("utf-8")
        server.secure(authority, _USERS, roles)
        authority.cert_pem.write_to_path(run_directory / "authority.pem")
        return {"key": authority.private_key_pem.bytes().decode()}

    with shared(run_directory, "secured", lambda stop: _started(stop, secure)) as node:
        yield node


@pytest.fixture
def secured_elasticsearch(_secured_node: dict[str, Any], run_directory: Path) -> SecuredCluster:
    """A node with TLS, users and the roles of deploy/elasticsearch, the same for the run."""
    import trustme  # as above

    if reason := _secured_node.get("reason"):
        not_run("ELASTICSEARCH", f"against a real Elasticsearch: {reason}")
    ca_file = run_directory / "authority.pem"
    authority = trustme.CA.from_pem(ca_file.read_bytes(), _secured_node["key"].encode())
    return SecuredCluster(_secured_node["url"], authority, ca_file, _USERS)


@pytest.fixture(scope="session")
def _opensearch_node(run_directory: Path) -> Iterator[dict[str, Any]]:
    def start(stop: ExitStack) -> dict[str, Any]:
        try:
            server = OpenSearchServer.prepare(_ROOT)
            stop.callback(server.discard)
            node = server.start(OPENSEARCH_ROLES)
        except Unavailable as error:
            return {"reason": str(error)}
        files = {"ca_file": str(node.ca_file), "admin_file": str(node.admin_file)}
        return {"url": node.url, "passwords": dict(node.passwords), **files}

    with shared(run_directory, "opensearch", start) as node:
        yield node


@pytest.fixture
def opensearch(_opensearch_node: dict[str, Any]) -> OpenSearchCluster:
    """An OpenSearch with TLS, users and the roles of deploy/opensearch, the same for the run."""
    node = _opensearch_node
    if reason := node.get("reason"):
        not_run("ELASTICSEARCH", f"against a real OpenSearch: {reason}")
    files = (Path(node[name]) for name in ("ca_file", "admin_file"))
    return OpenSearchCluster(node["url"], *files, node["passwords"])


@pytest.fixture
def killable_elasticsearch() -> Iterator[ElasticsearchServer]:
    """A node of this test alone, which it may kill."""
    if "AUDITLOG_TEST_ELASTICSEARCH_URL" in os.environ:
        not_run("ELASTICSEARCH", "AUDITLOG_TEST_ELASTICSEARCH_URL is not ours to kill")
    with ExitStack() as stop:
        try:
            server = ElasticsearchServer.prepare(_ROOT)
            stop.callback(server.discard)
            server.start()
        except Unavailable as error:
            not_run("ELASTICSEARCH", f"against a real Elasticsearch: {error}")
        yield server


@pytest.fixture(scope="session")
def s3_server(run_directory: Path) -> Iterator[S3Server]:
    """A running S3 server with Object Lock, the same for the whole run."""
    from tests.support.s3 import SERVER, S3Server, start_server  # what only these tests need

    def start(stop: ExitStack) -> dict[str, Any]:
        return start_server(run_directory / SERVER, stop)

    with shared(run_directory, "s3", start) as described:
        yield S3Server.of(described)


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> S3Bucket:
    """A bucket with Object Lock of the test's own."""
    return s3_server.make_bucket()


@pytest.fixture
def index_prefix(request: pytest.FixtureRequest) -> Iterator[str]:
    """A prefix for index names that no other test has; what it names is deleted afterwards."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    own_node = "killable_elasticsearch" in request.fixturenames
    cluster = None if own_node else request.getfixturevalue("elasticsearch")
    yield prefix
    if cluster is not None:
        cluster.forget(prefix)
