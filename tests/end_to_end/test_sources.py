"""All kinds of sources through the agent into a real Elasticsearch, the agent killed on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.elasticsearch import Cluster
from tests.support.journal import UNIT, Journal, need_journal
from tests.support.logs import write_log
from tests.support.ndjson import App
from tests.support.waiting import eventually


@pytest.mark.elasticsearch
def test_logs_files_and_the_journal_arrive_once_though_the_agent_is_killed(
    tmp_path: Path, elasticsearch: Cluster, index_prefix: str
) -> None:
    need_journal()
    log = write_log(tmp_path / "audit", records=300)
    app, journal = App(tmp_path / "worker"), Journal(tmp_path / "journal")
    app.write(300)
    journal.add(300)
    config = tmp_path / "config.toml"
    config.write_text(
        f"""
        host = "hive1"
        directories = ["{tmp_path}/audit"]
        state_dir = "{tmp_path}/state"
        metrics = ""
        [sinks.main]
        kind = "elasticsearch"
        urls = ["{elasticsearch.url}"]
        index_prefix = "{index_prefix}-audit"
        [[sources.ndjson]]
        name = "worker"
        paths = ["{tmp_path}/worker/*.log*"]
        [[sources.journald]]
        name = "journal"
        units = ["{UNIT}"]
        directory = "{tmp_path}/journal"
        """
    )
    command = [sys.executable, "-m", "auditctl", "agent", "--only", "ship", f"--config={config}"]
    patterns = {name: f"{index_prefix}-{name}-*" for name in ("audit", "worker", "journal")}

    def counts() -> dict[str, int]:
        return {name: elasticsearch.count(pattern) for name, pattern in patterns.items()}

    total = 300
    for way in (signal.SIGKILL, signal.SIGTERM):
        agent = subprocess.Popen(command)
        try:
            eventually(lambda t=total: set(counts().values()) == {t}, f"{total} of each")
            log.append(50)
            app.write(25)
            app.rename()
            app.write(25)
            journal.add(50)
            total += 50
        finally:
            agent.send_signal(way)
            agent.wait(120)
    said = tmp_path / "agent.log"
    with said.open("wb") as output:
        agent = subprocess.Popen(command, stderr=output)
    try:
        # The one before may have shipped everything: only one that is at work ends well by SIGTERM.
        eventually(lambda: "started" in said.read_text(), "the agent at work")
        eventually(lambda: set(counts().values()) == {total}, f"{total} of each")
    finally:
        agent.terminate()
        assert agent.wait(120) == 0
    worker = [hit["_source"] for hit in elasticsearch.anything(patterns["worker"])]
    assert sorted(source["n"] for source in worker) == list(range(total))
    entries = [hit["_source"]["message"] for hit in elasticsearch.anything(patterns["journal"])]
    assert sorted(entries) == sorted(f"entry {n}" for n in range(1, total + 1))
    cursors = tmp_path / "state" / "source-cursors" / "main"
    assert {path.name for path in cursors.glob("*.cursor")} == {"journal.cursor", "worker.cursor"}
