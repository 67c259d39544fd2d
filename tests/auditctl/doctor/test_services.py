from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pytest_httpserver import HTTPServer

from auditctl.config.model import Config, SocketAddress
from auditctl.config.sinks import ElasticsearchConfig, sink_for_target
from auditctl.doctor.host import check_host
from auditctl.doctor.services import check_agent, check_sink
from shippers.sinks.sqlite.sink import SqliteSink

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.elasticsearch import Cluster, SecuredCluster


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (503, "warn")])
def test_an_agent_that_answers(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, status: int, state: str
) -> None:
    monkeypatch.setattr("auditctl.doctor.services._SECONDS", 60.0)
    httpserver.expect_request("/readyz").respond_with_data("", status)
    config = Config(metrics=SocketAddress(httpserver.host, httpserver.port))
    assert check_agent(config).state == state


def test_no_agent(httpserver: HTTPServer) -> None:
    address = SocketAddress("127.0.0.1", 9)
    assert "no agent answers" in check_agent(Config(metrics=address)).detail
    assert check_agent(Config(metrics=None)).state == "ok"


def test_a_sqlite_sink(tmp_path: Path) -> None:
    path = tmp_path / "sink.sqlite"
    sink = sink_for_target(str(path))
    (missing,) = check_sink(sink)
    assert missing.state == "ok"
    SqliteSink("main", path).close()
    (made,) = check_sink(sink)
    assert made.state == "ok"
    path.write_bytes(b"no database, but long enough to be read as one" * 20)
    (broken,) = check_sink(sink)
    assert broken.state == "fail"


def test_a_secret_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    sink = ElasticsearchConfig(name="main", urls=("http://127.0.0.1:9",), username="me",
                      password_file=tmp_path / "gone")  # fmt: skip
    (found,) = check_sink(sink)
    assert (found.state, str(tmp_path / "gone") in found.detail) == ("fail", True)


def test_an_elasticsearch_that_is_not_there() -> None:
    (found,) = check_sink(sink_for_target("http://127.0.0.1:9"))
    assert (found.state, "http://127.0.0.1:9" in found.detail) == ("fail", True)


def test_an_elasticsearch_that_is_there(elasticsearch: Cluster) -> None:
    found = {finding.detail.partition(":")[0]: finding for finding in check_sink(
        sink_for_target(elasticsearch.url))}  # fmt: skip
    assert found["version"].state == "ok"
    assert found["privileges"].state == "warn"  # security is off there
    assert not any(finding.state == "fail" for finding in found.values())


def test_a_cluster_set_up_as_documented_needs_nothing(
    secured_elasticsearch: SecuredCluster, tmp_path: Path
) -> None:
    """The shipper's user may not see templates and versions; that is no problem."""
    password = tmp_path / "es.password"
    password.touch(0o600)
    password.write_text(secured_elasticsearch.users["shipper"].password)
    sink = ElasticsearchConfig(
        name="main",
        urls=(secured_elasticsearch.url,),
        ca_file=secured_elasticsearch.ca_file,
        username="shipper",
        password_file=password,
    )
    found = list(check_sink(sink))
    assert [(each.state, each.detail) for each in found if each.state != "ok"] == []
    assert any("set-up user" in each.detail for each in found)


def test_the_host(tmp_path: Path) -> None:
    (tmp_path / "max_user_watches").write_text("100\n")
    (tmp_path / "max_user_instances").write_text("128\n")
    _, watches, instances = check_host(tmp_path)
    assert (watches.state, watches.mend.split()[1]) == ("warn", "fs.inotify.max_user_watches=8192,")
    assert instances.state == "ok"
    (tmp_path / "max_user_watches").unlink()
    assert "every 30 s" in [*check_host(tmp_path)][1].detail
