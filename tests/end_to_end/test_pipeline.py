"""The whole pipeline against a real Elasticsearch, with one SIGKILL for each part of it."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

import auditlog
from auditctl.config.model import Config
from auditctl.demo.sink import INDEX_PREFIX
from auditctl.demo.stage import AgentProcess, Auditctl, Writer
from auditlog.format.record import check_link, parse_header
from tests.support.elasticsearch import Cluster, ElasticsearchServer, request
from tests.support.waiting import eventually

EVENTS = 20_000
LOGS = ("queen-rbee@hive1", "rbee-hive@gpu-1", "rbee-hive@gpu-2")
PATIENCE_SECONDS = 240

pytestmark = pytest.mark.timeout(PATIENCE_SECONDS * 4)


def wait_for(condition: Callable[[], object]) -> None:
    eventually(condition, seconds=PATIENCE_SECONDS)


def configured(tmp_path: Path, url: str, index_prefix: str) -> Auditctl:
    config = tmp_path / "config.toml"
    config.write_text(
        f"""
        host = "hive1"
        directories = ["{tmp_path}/audit"]
        state_dir = "{tmp_path}/state"
        metrics = ""
        [sinks.main]
        kind = "elasticsearch"
        urls = ["{url}"]
        index_prefix = "{index_prefix}"
        """
    )
    (tmp_path / "audit").mkdir(mode=0o700)
    return Auditctl(f"--config={config}")


def test_nothing_is_lost_or_doubled_when_writer_shipper_and_server_are_killed(
    tmp_path: Path,
    killable_elasticsearch: ElasticsearchServer,
    index_prefix: str,
) -> None:
    elasticsearch = Cluster(killable_elasticsearch.url)
    program = configured(tmp_path, elasticsearch.url, index_prefix)
    audit, pattern = tmp_path / "audit", f"{index_prefix}-*"
    writers = [Writer(audit, log, EVENTS, rate=2_500) for log in LOGS]
    agent = AgentProcess(program.command("agent", "--only", "ship"), tmp_path / "agent.log")

    def acknowledged() -> int:
        return sum(len(writer.acknowledged) for writer in writers)

    def shipped() -> int:
        return elasticsearch.count(pattern)

    try:
        for process in (*writers, agent):
            process.start()
        wait_for(lambda: len(writers[0].acknowledged) > EVENTS // 4)
        writers[0].kill_and_restart()
        wait_for(lambda: shipped() > EVENTS // 4)
        agent.kill_and_restart()
        wait_for(lambda: acknowledged() > EVENTS * 3 // 2)
        killable_elasticsearch.kill()
        killable_elasticsearch.start()
        wait_for(lambda: not any(writer.running() for writer in writers))
        for writer in writers:
            writer.join()
            assert not writer.failure()
        on_disk = {
            f"{record.log}:{record.seq}": record for record in auditlog.read(audit, log_events=True)
        }
        wait_for(lambda: shipped() >= len(on_disk))
        agent.stop()
    finally:
        for process in (*writers, agent):
            process.close()

    assert acknowledged() >= EVENTS * len(LOGS)
    for writer in writers:
        for seq, record_hash in writer.acknowledged.items():
            assert on_disk[f"{writer.log}:{seq}"].hash == record_hash
    documents = elasticsearch.documents(pattern)
    assert documents.keys() == on_disk.keys()
    assert shipped() == len(documents)
    assert auditlog.verify(audit).ok

    _every_document_verifies_as_a_line(elasticsearch, pattern, on_disk)
    _retention_compresses_and_deletes(program, audit)
    assert elasticsearch.documents(pattern).keys() >= on_disk.keys()
    assert auditlog.verify(audit).ok


def _every_document_verifies_as_a_line(
    elasticsearch: Cluster, pattern: str, on_disk: dict[str, auditlog.Record]
) -> None:
    """The raw bytes of _source are the line: sliced from the answer, not serialised again."""
    for log in LOGS:
        seqs = sorted(record.seq for record in on_disk.values() if record.log == log)
        assert seqs == list(range(1, len(seqs) + 1))
    ids = sorted(on_disk)
    for start in range(0, len(ids), 2000):
        for line in raw_sources(elasticsearch.url, pattern, ids[start : start + 2000]):
            header = parse_header(line)
            assert header is not None
            assert check_link(header, line, seq=header.seq, prev_hash=header.prev_hash) is None
            assert on_disk[f"{header.log}:{header.seq}"].line == line


def raw_sources(url: str, pattern: str, ids: list[str]) -> list[bytes]:
    """The _source of each document, as the server sent it, with the LF that ended the line."""
    query = json.dumps({"query": {"ids": {"values": ids}}, "size": len(ids)}).encode()
    asked = urllib.request.Request(
        f"{url}/{pattern}/_search", query, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        content = answer.read()
    found = []
    position = 0
    while (position := content.find(b'"_source":{"v":1,', position)) >= 0:
        start = position + len(b'"_source":')
        position = content.index(b',"hash":"', start) + len(b',"hash":"') + 64 + len(b'"}')
        found.append(content[start:position] + b"\n")
    assert len(found) == len(ids)
    return found


def _retention_compresses_and_deletes(program: Auditctl, audit: Path) -> None:
    """In 31 days, then in 91: the segments go from plain to compressed to tombstones."""
    now = dt.datetime.now(dt.UTC)
    in_31_days, in_91_days = (
        (now + dt.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ") for days in (31, 91)
    )
    _, done = program.json("prune", "--at", in_31_days)
    compressed = list(audit.glob("*.zst"))
    assert done["totals"]["compress"] == len(compressed) > len(LOGS)
    assert auditlog.verify(audit).ok
    _, refused = program.json("prune", "--at", in_91_days, codes=(4,))
    assert refused["totals"]["delete"] == len(compressed)
    assert list(audit.glob("*.zst")) == compressed, "the breaker stopped it"
    program.json("prune", "--at", in_91_days, "--confirm")
    assert not list(audit.glob("*.zst"))


def test_the_agent_runs_shippers_and_retention_and_stops(
    tmp_path: Path, elasticsearch: Cluster, index_prefix: str
) -> None:
    audit = tmp_path / "audit"
    program = configured(tmp_path, elasticsearch.url, index_prefix)
    with auditlog.open(audit, service="queen-rbee", host="hive1") as log:
        ticket = log.emit("pool.drained")
    agent = AgentProcess(program.command("agent"), tmp_path / "agent.log")
    try:
        agent.start()
        wait_for(lambda: elasticsearch.count(f"{index_prefix}-*") >= ticket.seq)
        wait_for((tmp_path / "state" / "retention.json").exists)
        agent.stop()
    finally:
        agent.close()
    status, document = request(
        elasticsearch.url, "GET", f"/{index_prefix}-*/_search?q=seq:{ticket.seq}"
    )
    assert status == 200
    assert document["hits"]["hits"][0]["_id"] == f"queen-rbee@hive1:{ticket.seq}"


def test_the_demo_holds_every_promise_on_elasticsearch(elasticsearch: Cluster) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "auditctl", "demo", "--sink", elasticsearch.url, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        assert done.returncode == 0, done.stderr + done.stdout
        assert '"ok":true' in done.stdout.replace(" ", "")
    finally:
        elasticsearch.forget(INDEX_PREFIX)


def test_the_demo_holds_every_promise_on_sqlite_though_an_agent_runs_here(tmp_path: Path) -> None:
    metrics = Config().metrics
    assert metrics is not None
    with socket.socket() as agent:
        with contextlib.suppress(OSError):  # there is one indeed
            agent.bind((metrics.host, metrics.port))
            agent.listen()
        done = subprocess.run(
            [sys.executable, "-m", "auditctl", "demo", "--keep", tmp_path / "kept"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "every promise held" in done.stdout
    assert "BROKEN" not in done.stdout
    assert "\x1b[" not in done.stdout + done.stderr
    assert auditlog.verify(tmp_path / "kept" / "audit").ok
