"""Fixtures every test may use: a real Elasticsearch, and index names of a test's own."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.elasticsearch import (
    Cluster,
    ElasticsearchServer,
    SecuredCluster,
    Unavailable,
    User,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# A loaded machine draws and runs slowly: how long an example takes says nothing about the code.
settings.register_profile("auditlog", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("auditlog")

_NOT_RUN = pytest.StashKey[dict[str, int]]()
_NEED_A_SERVER = {"elasticsearch", "secured_elasticsearch"}
_ROOT = Path(__file__).parent.parent
_DAY_SECONDS = 86_400
_QUIET_SECONDS = 30
"""No test begins within so many seconds before midnight UTC."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_NOT_RUN] = {}
    # A shell has what it starts in the background ignore Ctrl-C, and every child inherits that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Not for the programs that run here: a person's terminal, gzip, and auditctl's settings.
    ours = ("AUDITLOG_CONFIG", "AUDITLOG_DEBUG", "AUDITLOG_PASSWORD", "AUDITLOG_API_KEY")
    for name in ("COLUMNS", "LINES", "GZIP", *ours):
        os.environ.pop(name, None)
    # Whoever has to go through a proxy to fetch things: what runs here is reached without.
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    # A day's change adds a segment and a record; tests of it have clocks of their own.
    to_midnight = _DAY_SECONDS - time.time() % _DAY_SECONDS
    if to_midnight < _QUIET_SECONDS:
        time.sleep(to_midnight + 0.1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _NEED_A_SERVER & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.elasticsearch)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for reason, tests in config.stash[_NOT_RUN].items():
        terminalreporter.write_line(
            f"NOT TESTED: {tests} test(s) against a real Elasticsearch did not run: {reason}. "
            "AUDITLOG_REQUIRE_ELASTICSEARCH=1 makes this a failure.",
            red=True,
            bold=True,
        )


def _not_run(config: pytest.Config, reason: str) -> None:
    """Skip the test so that nobody can miss it; fail it where a server is required."""
    if os.environ.get("AUDITLOG_REQUIRE_ELASTICSEARCH") == "1":
        pytest.fail(f"a real Elasticsearch is required: {reason}", pytrace=False)
    counts = config.stash[_NOT_RUN]
    counts[reason] = counts.get(reason, 0) + 1
    pytest.skip(reason)


@pytest.fixture(scope="session")
def _elasticsearch_or_reason() -> Iterator[Cluster | str]:
    if url := os.environ.get("AUDITLOG_TEST_ELASTICSEARCH_URL"):
        yield Cluster(url.rstrip("/"), None)
        return
    try:
        server = ElasticsearchServer.prepare(_ROOT)
    except Unavailable as error:
        yield str(error)
        return
    try:
        server.start()
        yield Cluster(server.url, server)
    except Unavailable as error:
        yield str(error)
    finally:
        server.discard()


@pytest.fixture
def elasticsearch(
    _elasticsearch_or_reason: Cluster | str, request: pytest.FixtureRequest
) -> Cluster:
    """A running cluster, the same for the whole session."""
    if isinstance(_elasticsearch_or_reason, str):
        _not_run(request.config, _elasticsearch_or_reason)
    assert isinstance(_elasticsearch_or_reason, Cluster)
    return _elasticsearch_or_reason


@pytest.fixture(scope="session")
def _secured_or_reason(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredCluster | str]:
    import trustme  # what only these tests need

    roles = (_ROOT / "deploy/elasticsearch/roles.yml").read_text("utf-8")
    users = {
        "admin": User("the admin's passw0rd", ("superuser",)),
        "shipper": User("the shipper's passw0rd", ("auditlog_shipper",)),
        "auditor": User("the auditor's passw0rd", ("auditlog_auditor",)),
        "reconciler": User("the reconciler's passw0rd", ("auditlog_shipper", "auditlog_auditor")),
        "setup": User("the set-up's passw0rd", ("auditlog_setup",)),
        "index_retention": User("the janitor's passw0rd", ("auditlog_index_retention",)),
        "nobody": User("nobody's passw0rd", ()),
    }
    try:
        server = ElasticsearchServer.prepare(_ROOT)
    except Unavailable as error:
        yield str(error)
        return
    authority = trustme.CA()
    ca_file = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    server.secure(authority, users, roles)
    try:
        server.start()
        yield SecuredCluster(server, authority, ca_file, users)
    except Unavailable as error:
        yield str(error)
    finally:
        server.discard()


@pytest.fixture
def secured_elasticsearch(
    _secured_or_reason: SecuredCluster | str, request: pytest.FixtureRequest
) -> SecuredCluster:
    """A node with TLS, users and the roles of deploy/elasticsearch, the same for the session."""
    if isinstance(_secured_or_reason, str):
        _not_run(request.config, _secured_or_reason)
    assert isinstance(_secured_or_reason, SecuredCluster)
    return _secured_or_reason


@pytest.fixture
def killable_elasticsearch(
    elasticsearch: Cluster, request: pytest.FixtureRequest
) -> Iterator[ElasticsearchServer]:
    """The same node for tests that kill it; it runs again afterwards."""
    server = elasticsearch.server
    if server is None:
        _not_run(
            request.config, "the cluster of AUDITLOG_TEST_ELASTICSEARCH_URL is not ours to kill"
        )
    assert server is not None
    yield server
    if not server.running:
        server.start()


@pytest.fixture
def index_prefix(elasticsearch: Cluster) -> Iterator[str]:
    """A prefix for index names that no other test has; what it names is deleted afterwards."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    yield prefix
    elasticsearch.forget(prefix)
