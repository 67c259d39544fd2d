"""Old indices of a real cluster, from the configuration to what a resend makes of it."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from auditctl.agent.services import Services
from auditctl.composition.index_retention import ElasticsearchIndices, IndexRetention
from auditctl.composition.sinks import make_sink
from auditctl.config.model import Config, load
from auditctl.config.sinks import ElasticsearchConfig, SinkConfig
from auditctl.errors import CommandFailed
from auditlog.writer.opening import ReservedService, open_log
from retention.memory import IndexRunStore
from shippers.outcome import INDEXED, RETIRED
from tests.support.elasticsearch import Cluster, SecuredCluster, request
from tests.support.logs import START, LogBuilder, write_log
from tests.support.shipments import shipments
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.auditctl.conftest import Result

DAY = dt.timedelta(days=1)


@pytest.fixture
def sink(elasticsearch: Cluster, index_prefix: str) -> SinkConfig:
    return ElasticsearchConfig(
        name="main", urls=(elasticsearch.url,), index_prefix=index_prefix, replicas=0
    )


@pytest.fixture
def indices(sink: SinkConfig) -> Iterator[ElasticsearchIndices]:
    made = ElasticsearchIndices(sink)
    yield made
    made.close()


def put(sink: SinkConfig, name: str, documents: int = 0) -> None:
    url = sink.urls[0]
    assert request(url, "PUT", f"/{name}", {"settings": {"number_of_replicas": 0}})[0] == 200
    for _ in range(documents):
        assert request(url, "POST", f"/{name}/_doc", {"a": 1})[0] == 201
    assert request(url, "POST", f"/{name}/_refresh")[0] == 200


def exists(sink: SinkConfig, name: str) -> bool:
    return request(sink.urls[0], "GET", f"/{name}")[0] == 200


def test_listed(sink: SinkConfig, indices: ElasticsearchIndices) -> None:
    """listed: every open index behind the prefix is listed, with its documents counted"""
    assert indices.indices() == []
    old, new = f"{sink.index_prefix}-2026.01.01", f"{sink.index_prefix}-2026.01.02"
    put(sink, old, 3)
    put(sink, new)
    _, about = request(sink.urls[0], "GET", f"/{old}/_settings")
    first, second = indices.indices()
    assert (first.name, first.documents, second.name, second.documents) == (old, 3, new, 0)
    assert first.uuid == about[old]["settings"]["index"]["uuid"]
    assert first.size_bytes > 0


def test_exact(sink: SinkConfig, indices: ElasticsearchIndices) -> None:
    """exact: what is deleted is the index of that name: never an alias, a pattern or a second"""
    prefix = sink.index_prefix
    precious = f"{prefix}-precious"
    for name in (f"{prefix}-2026.01.01", f"{prefix}-2026.01.02", precious):
        put(sink, name)
    alias = f"{prefix}-2020.01.01"
    assert request(sink.urls[0], "PUT", f"/{precious}/_alias/{alias}")[0] == 200
    assert alias not in {found.name for found in indices.indices()}
    for wrong in (alias, f"{prefix}-*"):
        try:
            indices.delete(wrong)
        except CommandFailed:
            continue
    assert len(indices.indices()) == 3
    indices.delete(f"{prefix}-2026.01.01")
    indices.delete(f"{prefix}-2026.01.01")  # gone already
    assert {found.name for found in indices.indices()} == {f"{prefix}-2026.01.02", precious}


def test_unreachable_is_an_error_and_no_empty_list() -> None:
    closed = ElasticsearchIndices(ElasticsearchConfig(name="main", urls=("http://127.0.0.1:1",)))
    for ask in (closed.indices, lambda: closed.delete("x")):
        with pytest.raises(CommandFailed, match="sink main"):
            ask()
    closed.close()


def test_own_user(secured_elasticsearch: SecuredCluster, tmp_path: Path) -> None:
    """own_user: it speaks as the user of index_delete_username, not as the one who ships"""
    cluster = secured_elasticsearch
    prefix = f"llama-orch-audit-{uuid.uuid4().hex[:8]}"
    for user in ("shipper", "index_retention"):
        (tmp_path / user).write_text(cluster.users[user].password)
    old = f"{prefix}-2020.01.01"
    try:
        for name in (old, f"{prefix}-2020.01.02"):
            settings = {"settings": {"number_of_replicas": 0}}
            assert cluster.request("PUT", f"/{name}", settings)[0] == 200
        config = tmp_path / "c.toml"
        config.write_text(
            f"directories = ['{tmp_path}/audit']\n[sinks.main]\nkind = 'elasticsearch'\n"
            f"urls = ['{cluster.url}']\nca_file = '{cluster.ca_file}'\n"
            f"index_prefix = '{prefix}'\nusername = 'shipper'\n"
            f"password_file = '{tmp_path}/shipper'\nindex_delete_after = '30d'\n"
            "index_delete_username = 'index_retention'\n"
            f"index_delete_password_file = '{tmp_path}/index_retention'\n"
        )
        (tmp_path / "audit").mkdir()
        retention = IndexRetention(load(config))
        result = retention.run(retention.sinks[0], dt.datetime.now(dt.UTC), confirm=True)
        assert [(s.action.name, s.done) for s in result.steps if s.done] == [(old, True)]
        assert cluster.request("GET", f"/{old}")[0] == 404
    finally:
        for day in ("01", "02"):
            cluster.request("DELETE", f"/{prefix}-2020.01.{day}")


@pytest.mark.parametrize("user", ["index_retention", "auditor"])
def test_ahead(secured_elasticsearch: SecuredCluster, tmp_path: Path, user: str) -> None:
    """ahead: by the user who deletes; one who may not is no error, and a silent fleet gets none"""
    cluster = secured_elasticsearch
    may = user == "index_retention"
    prefix = f"llama-orch-audit-{uuid.uuid4().hex[:8]}"
    (tmp_path / "secret").write_text(cluster.users[user].password)
    sink = ElasticsearchConfig(
        name="main",
        urls=(cluster.url,),
        ca_file=cluster.ca_file,
        index_prefix=f"{prefix}-{{bucket:3}}",
        index_delete_after=DAY,
        index_delete_username=user,
        index_delete_password_file=tmp_path / "secret",
    )
    retention = IndexRetention(Config(directories=(tmp_path,), sinks=(sink,)))
    now = dt.datetime(2026, 11, 30, 23, tzinfo=dt.UTC)
    names = [f"{prefix}-{bucket}-2026.12.01" for bucket in range(3)]
    if may:
        assert retention.make_ahead(sink, now) == []
        written = f"/{prefix}-1-2026.11.29/_doc/1?refresh=true"
        assert cluster.request("PUT", written, {"a": 1})[0] == 201
        assert retention.make_ahead(sink, now) == names
        assert retention.make_ahead(sink, now) == []
    else:
        indices = ElasticsearchIndices(sink)
        assert not indices.create(names[0])
        indices.close()
    assert [cluster.request("GET", f"/{name}")[0] == 200 for name in names] == [may] * 3
    for name in cluster.request("GET", f"/{prefix}-*/_settings")[1]:
        cluster.request("DELETE", f"/{name}")


def test_forgets(tmp_path: Path, sink: SinkConfig) -> None:
    """forgets: a sink that has no index_delete_after any more is announced when it has one again"""
    (tmp_path / "audit").mkdir()

    def config(after: dt.timedelta | None) -> Config:
        return Config(
            directories=(tmp_path / "audit",), sinks=(replace(sink, index_delete_after=after),)
        )

    stop, now = threading.Event(), dt.datetime.now(dt.UTC)
    store = IndexRunStore(tmp_path / "audit/.auditlog")
    assert IndexRetention(config(30 * DAY)).scheduled(now, stop) == []
    assert store.load("main") is not None
    assert IndexRetention(config(None)).scheduled(now, stop) == []
    assert store.load("main") is None


@pytest.fixture
def built(tmp_path: Path) -> LogBuilder:
    """Ten days, the last one today's."""
    days = 10
    return write_log(
        tmp_path / "audit", records=3, segments=days, days=1, at=START - (days - 1) * DAY
    )


@pytest.fixture
def config(tmp_path: Path, sink: SinkConfig, built: LogBuilder) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(
        f"directories = ['{tmp_path}/audit']\nstate_dir = '{tmp_path}/state'\nhost = 'hive1'\n"
        f"metrics = ''\n[sinks.main]\nkind = 'elasticsearch'\nurls = ['{sink.urls[0]}']\n"
        f"index_prefix = '{sink.index_prefix}'\nreplicas = 0\nindex_delete_after = '6d'\n"
        "[retention]\ncompress_after = '300d'\ndelete_after = '9000d'\n"
    )
    return path


def test_an_index_that_was_deleted_by_policy_is_not_made_again(
    run: Callable[..., Result], config: Path, built: LogBuilder, sink: SinkConfig, tmp_path: Path
) -> None:
    names = [f"{sink.index_prefix}-{name.day:%Y.%m.%d}" for name in built.names]
    at = (dt.datetime.combine(built.names[-1].day, dt.time(12), dt.UTC)).isoformat()
    unshipped = run("prune", "--indices", "--config", config, "--at", at, "--dry-run", "--json")
    assert unshipped.json["totals"] == {"keep": 0, "delete": 0, "documents": 0}
    assert run("ship", "--config", config, "--once").code == 0
    request(sink.urls[0], "POST", f"/{sink.index_prefix}-*/_refresh")  # or its counts are late
    looked = run("prune", "--indices", "--config", config, "--at", at, "--dry-run", "--json")
    assert looked.json["totals"] == {"keep": 7, "delete": 3, "documents": 9}
    assert looked.json["announces"]
    assert not (tmp_path / "state/index-retention.json").exists()
    first = run("prune", "--indices", "--config", config)
    assert "nothing was deleted, since it is the first run" in first.out
    assert all(exists(sink, name) for name in names)
    code = run("prune", "--indices", "--config", config).code  # by now more of them may be old
    gone = [name for name in names if not exists(sink, name)]
    if code == 4:  # more than half
        assert not gone
        assert run("prune", "--indices", "--config", config, "--confirm", "--json").code == 0
        gone = [name for name in names if not exists(sink, name)]
    assert gone[:3] == names[:3]
    assert exists(sink, names[-1])
    left = names[len(gone) :]
    for path in (tmp_path / "state/cursors/main").iterdir():
        path.unlink()
    again = run("ship", "--config", config, "--once")
    assert again.code == 0
    assert [name for name in names if exists(sink, name)] == left
    receipt = run("reconcile", "--config", config, "--json")
    assert receipt.code == 0
    assert receipt.json["totals"]["retired"] == 3 * len(gone)
    assert receipt.json["totals"]["reshipped"] == 0
    assert [name for name in names if exists(sink, name)] == left
    verified = run("verify", built.directory)
    assert verified.code == 0
    # A deletion of the files counts what is gone by policy as had: nothing is not_in_index.
    request(sink.urls[0], "POST", f"/{sink.index_prefix}-*/_refresh")
    text = config.read_text().replace("9000d", "301d") + "verify_before_delete = 'index'\n"
    config.write_text(text)
    old = (START + 400 * DAY).isoformat()
    pruned = run("prune", "--config", config, "--at", old, "--confirm", "--json")
    assert not [a for a in pruned.json["actions"] if a["reason"] == "not_in_index"]
    assert not built.paths[0].exists()


def test_what_is_still_to_be_shipped_goes_into_its_index_beside_one_that_is_gone(
    run: Callable[..., Result], config: Path, built: LogBuilder, sink: SinkConfig
) -> None:
    """One request with records of both: each gets its own outcome."""
    records = shipments(4, "rbee-hive@gpu1", at=START.replace(hour=23, minute=59, second=58))
    loaded = load(config)
    days = [record.header.day for record in records if record.header]
    assert len(set(days)) == 2
    index = f"{sink.index_prefix}-{days[0].replace('-', '.')}"
    details: dict[str, Any] = {"sink": "main", "urls": [], "index": index, "uuid": "u"}
    with open_log(built.directory, service=ReservedService("retention"), host="hive1") as log:
        log.emit("retention.index_deleted", details=details)
    made = make_sink(loaded.sinks[0], loaded.directories)
    expected = [RETIRED if day == days[0] else INDEXED for day in days]
    assert made.deliver(records) == expected
    made.close()
    assert not exists(sink, index)


def test_the_agent_announces_and_then_deletes(
    config: Path, built: LogBuilder, sink: SinkConfig
) -> None:
    names = [f"{sink.index_prefix}-{name.day:%Y.%m.%d}" for name in built.names]
    put(sink, f"{sink.index_prefix}-{dt.datetime.now(dt.UTC):%Y.%m.%d}")
    config.write_text(config.read_text() + "max_delete_fraction = 1.0\n")
    loaded = load(config)
    assert Services(loaded, retain=False).ship_once(DAY, threading.Event())
    state = loaded.state_directory()
    for done in (lambda: IndexRunStore(state).load("main"), lambda: not exists(sink, names[0])):
        services = Services(loaded, ship=False)
        services.start()  # a first run, and one that is overdue, start at once
        try:
            eventually(done)
        finally:
            services.stop()
        assert (status := services.retention()) is not None
        assert not status.failures
        (state / "retention.json").unlink()
    assert exists(sink, names[-1])


def test_without_a_sink_that_has_it_the_command_says_what_to_write(
    run: Callable[..., Result], config: Path
) -> None:
    config.write_text(config.read_text().replace("index_delete_after = '6d'\n", ""))
    result = run("prune", "--indices", "--config", config)
    assert result.code == 65
    assert 'index_delete_after = "365d"' in result.err
    assert run("prune", "--indices", "--config", config, "--at", "2030-01-01T00:00:00Z").code == 2
