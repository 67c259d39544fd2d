"""Two hosts write under one name, and their agents' user may append and not read."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auditlog import read, verify
from shippers.sinks.elasticsearch.index_template import index_template
from tests.support.elasticsearch import SecuredCluster
from tests.support.logs import START, LogBuilder, write_log

LATER = (START + dt.timedelta(days=400)).isoformat()
COMPRESSED = {"compress age"}
UNVERIFIED = {"keep not_verified"}
DELETED = {"delete age"}


class Host:
    """Five segments of ``queen-rbee@hive1``, twenty days apart, with ten records in each."""

    def __init__(self, cluster: SecuredCluster, place: Path, prefix: str, reason: str) -> None:
        place.mkdir()
        self.cluster, self.place, self.prefix = cluster, place, prefix
        self.log: LogBuilder = write_log(place / "audit", segments=5, days=20, reason=reason)
        self.written = self.on_disk()
        self.configure("shipper")

    def configure(self, user: str) -> None:
        password = self.place / "password"
        password.write_text(self.cluster.users[user].password)
        password.chmod(0o600)
        (self.place / "config.toml").write_text(
            f"""
            directories = ["{self.place}/audit"]
            state_dir = "{self.place}/state"
            [sinks.main]
            kind = "elasticsearch"
            urls = ["{self.cluster.url}"]
            ca_file = "{self.cluster.ca_file}"
            index_prefix = "{self.prefix}"
            replicas = 0
            username = "{user}"
            password_file = "{password}"
            [retention]
            max_delete_fraction = 1.0
            """
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "auditctl", *arguments]
        command.append(f"--config={self.place}/config.toml")
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    def on_disk(self) -> list[str]:
        """The hash of each record in the files, whatever form they have."""
        records = read(self.place / "audit")
        return [record.hash for record in records if record.log == str(self.log.log)]

    def ship(self) -> None:
        shipped = self.run("ship", "--once")
        assert shipped.returncode == 0, shipped.stderr

    def forget_cursor(self) -> None:
        for path in (self.place / "state/cursors/main").iterdir():
            path.unlink()

    def prune(self) -> list[str]:
        """Run retention; return its verdicts on the three oldest, whose deletion is due."""
        done = self.run("prune", f"--at={LATER}", "--json")
        actions: list[dict[str, Any]] = json.loads(done.stdout)["actions"]
        ours = [one for one in actions if one.get("log") == str(self.log.log)]
        return [f"{one['action']} {one['reason']}" for one in ours][:3]


@pytest.fixture
def prefix(secured_elasticsearch: SecuredCluster) -> Iterator[str]:
    name = f"llama-orch-test-{uuid.uuid4().hex[:8]}-audit"
    template = index_template(name, replicas=0)
    assert secured_elasticsearch.request("PUT", f"/_index_template/{name}", template)[0] == 200
    yield name
    _, indices = secured_elasticsearch.request("GET", f"/{name}*/_settings")
    for index in indices:
        secured_elasticsearch.request("DELETE", f"/{index}")
    secured_elasticsearch.request("DELETE", f"/_index_template/{name}")


def test_the_second_hosts_records_are_never_deleted(
    secured_elasticsearch: SecuredCluster, prefix: str, tmp_path: Path
) -> None:
    """The sink has the first host's records alone; what the second ships is "already there"."""
    first = Host(secured_elasticsearch, tmp_path / "first", prefix, "of the first host")
    second = Host(secured_elasticsearch, tmp_path / "second", prefix, "of the second host")
    first.ship()
    second.ship()
    assert set(second.prune()) == COMPRESSED
    assert set(second.prune()) == UNVERIFIED
    assert second.on_disk() == second.written
    assert verify(second.place / "audit").ok
    assert set(first.prune()) == DELETED
    assert not first.log.paths[0].exists()


def test_what_was_sent_twice_is_deleted_once_a_user_who_may_read_has_compared_it(
    secured_elasticsearch: SecuredCluster, prefix: str, tmp_path: Path
) -> None:
    host = Host(secured_elasticsearch, tmp_path / "host", prefix, "of the only host")
    host.ship()
    host.forget_cursor()
    host.ship()
    host.log.append(3)
    host.ship()  # the cursor moves on and still names the others
    assert set(host.prune()) == COMPRESSED
    assert set(host.prune()) == UNVERIFIED
    host.configure("reconciler")
    host.forget_cursor()
    host.ship()
    secured_elasticsearch.request("POST", f"/{prefix}-*/_refresh")
    assert set(host.prune()) == DELETED
