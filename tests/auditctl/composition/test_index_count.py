"""Counting records in real sinks."""

from __future__ import annotations

import datetime as dt
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auditctl.composition.index_count import SinkCounts
from auditctl.composition.sinks import make_sinks
from auditctl.config.sinks import ElasticsearchConfig, SinkConfig, SqliteConfig
from auditctl.errors import CommandFailed
from auditlog.cursors import Cursor, CursorStore
from auditlog.format.segment_names import LogId
from auditlog.reading.deleted_indices import DeletedIndices
from auditlog.writer.opening import ReservedService, open_log
from shippers.outcome import INDEXED
from shippers.quarantine.acknowledgement import acknowledge
from shippers.quarantine.store import Entry, Quarantine, read_entries
from tests.support.elasticsearch import Cluster, request
from tests.support.logs import START, write_log
from tests.support.shipments import shipments

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_httpserver import HTTPServer

    from tests.auditctl.conftest import Result

LOG = LogId("queen-rbee", "hive1")
DAY = START.date()
UNREADABLE = "username = 'u'\npassword_file = '/nonexistent'"


@pytest.fixture(params=["sqlite", "elasticsearch"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> SinkConfig:
    """A sink with records 1 to 20 of our log, on two days, and 1 to 5 of another."""
    if request.param == "sqlite":
        made = SqliteConfig("main", tmp_path / "records.sqlite")
    else:
        cluster: Cluster = request.getfixturevalue("elasticsearch")
        prefix = request.getfixturevalue("index_prefix")
        made = ElasticsearchConfig(name="main", urls=(cluster.url,), index_prefix=prefix)
    (sink,) = make_sinks([made])
    ours = shipments(20, str(LOG), at=START.replace(hour=23, minute=59, second=50))
    for records in (ours, shipments(5, "rbee-hive@hive1")):
        assert sink.deliver(records) == [INDEXED] * len(records)
    sink.close()
    if made.kind == "elasticsearch":
        request_refresh(made)
    return made


def request_refresh(config: SinkConfig) -> None:
    request(config.urls[0], "POST", f"/{config.index_prefix}-*/_refresh")


def test_counts(config: SinkConfig, tmp_path: Path) -> None:
    counts = SinkCounts([config], tmp_path)
    assert counts.count("main", LOG, 1, 20, day=DAY) == 20
    assert counts.count("main", LOG, 8, 12, day=DAY) == 5
    assert counts.count("main", LOG, 19, 30, day=DAY) == 2
    assert counts.count("main", LOG, 21, 30, day=DAY) == 0
    assert counts.count("main", LogId("rbee-hive", "hive1"), 1, 20, day=DAY) == 5


def test_quarantined(tmp_path: Path) -> None:
    config = SqliteConfig("main", tmp_path / "records.sqlite")
    (sink,) = make_sinks([config])
    sink.deliver(shipments(4, str(LOG)))
    sink.close()
    quarantine = Quarantine(tmp_path, "main")
    segment = "queen-rbee@hive1.2026-11-23.0001.ndjson"
    entries = [
        Entry("refused", "too large", str(LOG), segment, 900, 5, line=b"x\n"),
        Entry("chain_break", "an alarm", str(LOG), segment, 901, 6),
        Entry("refused", "too large", "rbee-hive@hive1", segment, 902, 7, line=b"x\n"),
        Entry("refused", "too large", str(LOG), segment, 903, 9, line=b"x\n"),
        Entry("tampered", "another hash", str(LOG), segment, 904, 8, line=b"x\n"),
    ]
    quarantine.add(entries, START)
    quarantine.close()
    with quarantine.path.open("ab") as file:
        file.write(b'{"kind":"refused","log":"queen-rbee@hive1","se')
    assert SinkCounts([config], tmp_path).count("main", LOG, 1, 8, day=DAY) == 6
    alarms = [entry.id for entry in read_entries(quarantine.path) if entry.alarm]
    assert len(acknowledge(quarantine.path, alarms, by="alice", reason="case 7", now=START)) == 2
    assert SinkCounts([config], tmp_path).count("main", LOG, 1, 8, day=DAY) == 6


def test_retired(tmp_path: Path) -> None:
    """retired: what was in an index that retention deleted is accounted for"""
    config = ElasticsearchConfig(name="main", urls=("http://127.0.0.1:1",))
    index = f"llama-orch-audit-{DAY:%Y.%m.%d}"
    with open_log(tmp_path, service=ReservedService("retention"), host="hive1") as log:
        details = {"sink": "main", "urls": [], "index": index, "uuid": "u"}
        log.emit("retention.index_deleted", details=details)
    counts = SinkCounts([config], tmp_path, DeletedIndices([tmp_path]))
    assert counts.count("main", LOG, 3, 8, day=DAY) == 6
    with pytest.raises(CommandFailed):  # another day's index is there, and cannot be asked
        counts.count("main", LOG, 3, 8, day=DAY + dt.timedelta(days=1))


def test_unreachable(tmp_path: Path) -> None:
    missing = SqliteConfig("a", tmp_path / "none.sqlite")
    closed = ElasticsearchConfig(name="b", urls=("http://127.0.0.1:1",))
    counts = SinkCounts([missing, closed], tmp_path)
    hints = {}
    for sink in ("a", "b", "c"):
        with pytest.raises(CommandFailed, match=f"sink {sink}") as caught:
            counts.count(sink, LOG, 1, 8, day=DAY)
        hints[sink] = caught.value.hint
    assert "systemctl edit auditlog-retention" in hints["b"], "nobody answered: may it be asked?"
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize("setting", ["[retention]\nverify_before_delete = 'index'\n", ""])
def test_prune_counts_before_it_deletes(
    run: Callable[..., Result], tmp_path: Path, setting: str
) -> None:
    """The cursor says that everything arrived; somebody took a record out of the index since."""
    built = write_log(tmp_path / "audit", records=3, segments=5, days=20)
    config = tmp_path / "c.toml"
    config.write_text(
        f"directories = ['{built.directory}']\nstate_dir = '{tmp_path}/state'\n"
        f"[sinks.main]\nkind = 'sqlite'\npath = '{tmp_path}/x.sqlite'\n"
        f"{setting}"
    )
    at = (START + dt.timedelta(days=100)).isoformat()
    (sink,) = make_sinks([SqliteConfig("main", tmp_path / "x.sqlite")])
    sink.deliver(shipments(3))
    sink.close()
    last = built.headers[-1]
    size = built.paths[-1].stat().st_size
    cursor = Cursor(built.log, built.names[-1].logical, size, last.seq, last.hash, START)
    CursorStore(tmp_path / "state").save("main", cursor)
    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        connection.execute("DELETE FROM records WHERE seq = 2")
    connection.close()
    result = run("prune", "--config", config, "--at", at, "--json")
    assert result.json["actions"][0]["reason"] == "not_in_index"
    assert built.paths[0].exists()
    (sink,) = make_sinks([SqliteConfig("main", tmp_path / "x.sqlite")])
    sink.deliver(shipments(3))
    sink.close()
    assert run("prune", "--config", config, "--at", at).code == 0
    assert not built.paths[0].exists()


@pytest.mark.parametrize(
    ("kind", "answer", "deleted"),
    [
        ("kind = 'sqlite'\npath = 'none.sqlite'", 0, False),
        ("kind = 'elasticsearch'\nurls = ['http://127.0.0.1:1']", 0, False),
        ("kind = 'elasticsearch'\nurls = ['URL']", 503, False),
        ("kind = 'elasticsearch'\nurls = ['URL']", 429, False),
        ("kind = 'elasticsearch'\nurls = ['URL']", 403, True),
        ("kind = 'elasticsearch'\nurls = ['URL']", 401, True),
        (
            f"kind = 'elasticsearch'\nurls = ['http://127.0.0.1:1']\n{UNREADABLE}",
            0,
            True,
        ),
    ],
)
def test_silent(
    run: Callable[..., Result],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    httpserver: HTTPServer,
    *,
    kind: str,
    answer: int,
    deleted: bool,
) -> None:
    """silent: a cluster that gives no answer keeps them; a user who may not read cannot be asked"""
    product = {"X-Elastic-Product": "Elasticsearch"}
    httpserver.expect_request(re.compile(".*")).respond_with_json({}, answer or 500, product)
    kind = kind.replace("URL", httpserver.url_for("").rstrip("/"))
    built = write_log(tmp_path / "audit", records=3, segments=5, days=20)
    config = tmp_path / "c.toml"
    kind = kind.replace("none.sqlite", f"{tmp_path}/none.sqlite")
    config.write_text(
        f"directories = ['{built.directory}']\nstate_dir = '{tmp_path}/state'\n"
        f"[sinks.main]\n{kind}\n"
    )
    last, size = built.headers[-1], built.paths[-1].stat().st_size
    forged = Cursor(built.log, built.names[-1].logical, size, last.seq, last.hash, START)
    CursorStore(tmp_path / "state").save("main", forged)
    at = (START + dt.timedelta(days=100)).isoformat()
    result = run("prune", "--config", config, "--at", at)
    assert built.paths[0].exists() != deleted
    assert (result.code == 0) == deleted
    assert ("deleted by what was acknowledged alone" in caplog.text) == deleted
