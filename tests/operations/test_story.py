"""Both services under load, shipped into a real Elasticsearch: a request's story, and its end."""

from __future__ import annotations

import datetime as dt
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

import auditlog
from tests.support.elasticsearch import Cluster, request
from tests.support.journal import Journal, need_journal
from tests.support.operations import DEPLOY, loaded_toml, ran
from tests.support.ports import free_port
from tests.support.rbee import Process, Rbee, value_of
from tests.support.waiting import eventually

ROOT: Final = DEPLOY.parent
TASKS: Final = 60
STORY: Final = [
    ("queen-rbee@hive1", "task_submitted"),
    ("queen-rbee@hive1", "http.request"),
    ("rbee-hive@hive1", "inference_executed"),
    ("rbee-hive@hive1", "http.request"),
    ("queen-rbee@hive1", "task_completed"),
]
"""The records that one request causes, in order."""


@pytest.fixture
def config(tmp_path: Path, elasticsearch: Cluster, index_prefix: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(
        f"directories = ['{tmp_path}/audit']\nstate_dir = '{tmp_path}/state'\nhost = 'hive1'\n"
        f"metrics = '127.0.0.1:{free_port()}'\n[sinks.main]\nkind = 'elasticsearch'\n"
        f"urls = ['{elasticsearch.url}']\nindex_prefix = '{index_prefix}'\n"
    )
    return path


def story(cluster: Cluster, prefix: str, correlation_id: str) -> list[dict[str, Any]]:
    request(cluster.url, "POST", f"/{prefix}-*/_refresh")
    query = {
        "query": {"term": {"correlation_id": correlation_id}},
        "sort": ["@timestamp", "log", "seq"],
    }
    status, answer = request(cluster.url, "POST", f"/{prefix}-*/_search", query)
    if status != 200:
        return []
    return [hit["_source"] for hit in answer["hits"]["hits"]]


def test_a_request_is_found_by_its_correlation_id_and_retention_ends_its_files(
    config: Path, tmp_path: Path, elasticsearch: Cluster, index_prefix: str
) -> None:
    port = int(config.read_text().split("127.0.0.1:")[1].split("'")[0])
    command = [sys.executable, "-m", "auditctl", "agent", "--only", "ship", "--config", str(config)]
    agent = Process(command, port, tmp_path / "agent.log")
    yesterday = time.time_ns() - 86_400 * 10**9
    for service in ("queen-rbee", "rbee-hive"):
        auditlog.open(
            tmp_path / "audit", service=service, host="hive1", clock=lambda: yesterday
        ).close()
    with Rbee(tmp_path, health_interval=5) as rbee:
        try:
            agent.start()
            rbee.start("hive", "queen")
            rbee.pool(4)

            def one(number: int) -> str:
                asked = {"model_ref": "llama", "prompt": "x", "max_tokens": 3}
                answer = rbee.post("queen", "/v2/tasks", asked, request_id=f"req-{number}")
                return str(answer["task_id"])

            with ThreadPoolExecutor(6) as clients:
                tasks = list(clients.map(one, range(TASKS)))
            eventually(lambda: all(rbee.state(task) != "running" for task in tasks), "done", 120)
            for name in ("queen", "hive"):
                assert rbee.services[name].stop() == 0
            records = {f"{r.log}:{r.seq}": r for r in auditlog.read(rbee.audit, log_events=True)}
            eventually(
                lambda: elasticsearch.count(f"{index_prefix}-*") == len(records), "shipped", 120
            )
            assert agent.stop() == 0  # which saves the cursors that retention asks below
        finally:
            said = agent.said()
            agent.close()
        done = [n for n, task in enumerate(tasks) if _completed(records.values(), task)]
    assert "Traceback" not in said
    assert done, "with 4 workers some of 6 clients at once are served"
    for number in (done[0], done[-1]):
        found = story(elasticsearch, index_prefix, f"req-{number}")
        told = [(source["log"], source["event_type"]) for source in found]
        assert sorted(told) == sorted(STORY)
        own = [event for event in told if event[0] == "queen-rbee@hive1"]
        assert own[0] == ("queen-rbee@hive1", "task_submitted")
        assert own[-1][1] in ("task_completed", "http.request")
        for source in found:
            assert source["hash"] == records[f"{source['log']}:{source['seq']}"].hash

    # 31 days later: everything is shipped, so yesterday's segments are compressed.
    later = (dt.datetime.now(dt.UTC) + dt.timedelta(days=31)).strftime("%Y-%m-%dT00:00:00Z")
    prune = ("prune", "--config", config, "--at", later)
    planned = ran(sys.executable, "-m", "auditctl", *prune, "--dry-run", "--json", cwd=ROOT)
    assert planned.count('"action":"compress"') == 2, planned
    ran(sys.executable, "-m", "auditctl", *prune, cwd=ROOT)
    compressed = {path.name.split("@")[0] for path in rbee.audit.glob("*.zst")}
    assert compressed == {"queen-rbee", "rbee-hive"}
    assert auditlog.verify(rbee.audit).ok


def test_the_journal_of_both_units_is_in_the_index(
    config: Path, tmp_path: Path, elasticsearch: Cluster, index_prefix: str
) -> None:
    """Put the services' messages into a journal with systemd's tool, as no systemd runs here."""
    need_journal()
    journal = Journal(tmp_path / "journal")
    with Rbee(tmp_path) as rbee:
        rbee.start("hive", "queen")
        rbee.tokens_file.unlink()
        for name, unit in (("queen", "queen-rbee.service"), ("hive", "rbee-hive.service")):
            assert rbee.ask("GET", name, "/v2/nodes").status_code == 503
            rbee.services[name].stop()
            [said] = rbee.services[name].said().splitlines()
            journal.add(MESSAGE=said, _SYSTEMD_UNIT=unit, PRIORITY="3")
    journal.add(_SYSTEMD_UNIT="cron.service")
    [source] = loaded_toml(DEPLOY / "systemd/config.toml")["sources"]["journald"]
    with config.open("a") as file:
        file.write(
            f"[[sources.journald]]\nname = '{source['name']}'\nunits = {source['units']}\n"
            f"directory = '{journal.directory}'\n"
        )
    ship = ("ship", "--config", config, "--once")
    ran(sys.executable, "-m", "auditctl", *ship, cwd=ROOT)
    # The source's name stands where audit stands in the prefix, or else behind it.
    pattern = f"{index_prefix}*{source['name']}-*"
    request(elasticsearch.url, "POST", f"/{pattern}/_refresh")
    status, answer = request(elasticsearch.url, "GET", f"/{pattern}/_search")
    assert status == 200
    mine = [hit["_source"] for hit in answer["hits"]["hits"]]
    assert sorted(entry["systemd"]["unit"] for entry in mine) == [
        "queen-rbee.service",
        "rbee-hive.service",
    ]
    assert all("the tokens cannot be read" in entry["message"] for entry in mine)


def _completed(records: Any, task_id: str) -> bool:
    return any(
        record.event_type == "task_completed"
        and record.fields["details"]["task_id"] == task_id
        and record.fields["outcome"] == "success"
        for record in records
    )


def test_a_wrong_port_is_said_once_and_mended_by_a_reload(
    config: Path, tmp_path: Path, elasticsearch: Cluster, index_prefix: str
) -> None:
    port = int(config.read_text().split("127.0.0.1:")[1].split("'")[0])
    good = config.read_text()
    config.write_text(good.replace(elasticsearch.url, f"http://127.0.0.1:{free_port()}"))
    command = [sys.executable, "-m", "auditctl", "agent", "--only", "ship", "--config", str(config)]
    agent = Process(command, port, tmp_path / "agent.log")
    with Rbee(tmp_path, health_interval=5) as rbee:
        try:
            agent.start()
            rbee.start("hive", "queen")
            eventually(lambda: _troubled(agent) == 1, "the agent notices", 60)
            rbee.pool(1)
            rbee.task("req-late")
            assert agent.said().count("refused") <= 2, "it does not repeat itself"
            config.write_text(good)
            assert agent.process is not None
            agent.process.send_signal(signal.SIGHUP)
            eventually(
                lambda: len(story(elasticsearch, index_prefix, "req-late")) == len(STORY),
                "nothing was lost",
                120,
            )
            eventually(lambda: _troubled(agent) == 0, "its answer is read, too", 60)
        finally:
            agent.close()


def _troubled(agent: Process) -> float:
    page = httpx.get(f"{agent.url}/metrics", timeout=30).text
    return value_of(page, "auditlog_shipper_sink_troubled")
