"""The agent as a user who may only append, over TLS; and as one whom the cluster refuses."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.elasticsearch import SecuredCluster
from tests.support.journal import UNIT, Journal, need_journal
from tests.support.logs import write_log
from tests.support.ndjson import App
from tests.support.ports import held_port
from tests.support.waiting import eventually


class Site:
    """A host with one audit log, one worker, and the agent's configuration."""

    def __init__(self, cluster: SecuredCluster, place: Path) -> None:
        self.cluster = cluster
        self.place = place
        self.prefix = f"llama-orch-test-{uuid.uuid4().hex[:8]}"
        self.port = held_port()
        self.metrics = f"127.0.0.1:{self.port.getsockname()[1]}"
        self.log = write_log(place / "audit", records=20)
        self.app = App(place / "worker")
        self.app.write(20)

    def configure(self, identity: str, more_sources: str = "") -> None:
        (self.place / "config.toml").write_text(
            f"""
            directories = ["{self.place}/audit"]
            state_dir = "{self.place}/state"
            metrics = "{self.metrics}"
            [sinks.main]
            kind = "elasticsearch"
            urls = ["{self.cluster.url}"]
            ca_file = "{self.cluster.ca_file}"
            index_prefix = "{self.prefix}-audit"
            replicas = 0
            {identity}
            [[sources.ndjson]]
            name = "worker"
            paths = ["{self.place}/worker/*.log*"]
            {more_sources}
            """
        )

    def set_up(self, more_sources: str = "") -> None:
        """With the configuration of the shipper, by the user who may."""
        users = self.cluster.users
        own = self.secret("shipper.password", users["shipper"].password)
        other = self.secret("setup.password", users["setup"].password)
        self.configure(f'username = "shipper"\npassword_file = "{own}"', more_sources)
        setup = [*self.command("setup", "elasticsearch"), "--username=setup"]
        subprocess.run([*setup, f"--password-file={other}"], check=True, timeout=60)

    def secret(self, name: str, content: str) -> Path:
        path = self.place / name
        path.write_text(f"{content}\n")
        path.chmod(0o600)  # the agent warns of a secret that others can read
        return path

    def command(self, *arguments: str) -> list[str]:
        config = f"--config={self.place}/config.toml"
        return [sys.executable, "-m", "auditctl", *arguments, config]

    @contextmanager
    def agent(self) -> Iterator[subprocess.Popen[bytes]]:
        with (self.place / "agent.log").open("wb") as output:
            process = subprocess.Popen(self.command("agent", "--only", "ship"), stderr=output)
        try:
            yield process
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()

    def said(self) -> str:
        return (self.place / "agent.log").read_text()

    def complaints(self) -> list[str]:
        levels = ("WARNING", "ERROR", "CRITICAL", "Traceback")
        return [line for line in self.said().splitlines() if any(level in line for level in levels)]

    def get(self, path: str) -> str:
        """Return the agent's answer of any status, "" while it does not listen."""
        try:
            with urllib.request.urlopen(f"http://{self.metrics}/{path}", timeout=20) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()
        except urllib.error.URLError:
            return ""

    def count(self, what: str) -> int:
        self.cluster.request("POST", f"/{self.prefix}-{what}-*/_refresh")
        status, answer = self.cluster.request("GET", f"/{self.prefix}-{what}-*/_count")
        return int(answer["count"]) if status == 200 else 0


@pytest.fixture
def site(secured_elasticsearch: SecuredCluster, tmp_path: Path) -> Iterator[Site]:
    made = Site(secured_elasticsearch, tmp_path)
    yield made
    made.port.close()
    _, indices = secured_elasticsearch.request("GET", f"/{made.prefix}*/_settings")
    for index in indices:
        secured_elasticsearch.request("DELETE", f"/{index}")
    secured_elasticsearch.request("DELETE", f"/_index_template/{made.prefix}*")


def test_once_set_up_by_another_user_the_shipper_needs_nothing_and_says_nothing(
    site: Site,
) -> None:
    site.set_up()
    with site.agent():
        eventually(lambda: (site.count("audit"), site.count("worker")) == (20, 20), "all", 90)
        site.app.write(5)
        eventually(lambda: site.count("worker") == 25, "what came later", 90)
    assert site.complaints() == []
    _, mappings = site.cluster.request("GET", f"/{site.prefix}-worker-*/_mapping")
    (index,) = mappings.values()
    # As in the template; what nobody set up is guessed, with dates and a text beside each keyword.
    assert index["mappings"]["date_detection"] is False
    assert index["mappings"]["properties"]["app"] == {"type": "keyword", "ignore_above": 1024}
    _, settings = site.cluster.request("GET", f"/{site.prefix}-worker-*/_settings")
    (index,) = settings.values()
    assert index["settings"]["index"]["translog"]["durability"].lower() == "request"


def test_the_journal_goes_where_the_shipper_may_only_append(site: Site) -> None:
    need_journal()
    journal = Journal(site.place / "journal")
    journal.add(20)
    site.set_up(
        f"[[sources.journald]]\nname = 'journal'\nunits = ['{UNIT}']\n"
        f"directory = '{journal.directory}'"
    )
    with site.agent():
        eventually(lambda: site.count("journal") == 20, "the journal", 90)
        journal.add(5)
        eventually(lambda: site.count("journal") == 25, "what came later", 90)
    assert site.complaints() == []
    _, mappings = site.cluster.request("GET", f"/{site.prefix}-journal-*/_mapping")
    (index,) = mappings.values()
    assert index["mappings"]["date_detection"] is False, "as in the template"


def forms(secret: str, user: str) -> set[str]:
    """How a secret could be written down: as it is, in its header, in a repr, in a URL."""
    basic = base64.b64encode(f"{user}:{secret}".encode()).decode()
    key = base64.b64encode(secret.encode()).decode()
    return {secret, repr(secret)[1:-1], basic, key, urllib.request.quote(secret)}


@pytest.mark.parametrize("refusal", ["a wrong password", "a wrong API key", "no privileges"])
def test_what_the_server_refuses_is_said_without_the_secret(site: Site, refusal: str) -> None:
    status, user, identity = "401", "shipper", ""
    first, second = "hunter2 'and\\more", "rotated hunter3"
    if refusal == "a wrong API key":
        first = base64.b64encode(b"an-id:a-wrong-secret-key").decode()
        second = base64.b64encode(b"an-id:another-wrong-key").decode()
        identity = f'api_key_file = "{site.place}/secret"'
    else:
        if refusal == "no privileges":
            status, user = "403", "nobody"
            first = second = site.cluster.users["nobody"].password
        identity = f'username = "{user}"\npassword_file = "{site.place}/secret"'
    site.configure(identity)
    site.secret("secret", first)
    answers: list[str] = []
    with site.agent() as process:
        eventually(lambda: status in site.get("readyz"), f"refused with {status}", 90)
        site.secret("secret", second)  # refused as well, after a reload
        process.send_signal(signal.SIGHUP)
        eventually(lambda: "auditlog_agent_reloads_total" in site.get("metrics"), "metrics", 90)
        eventually(
            lambda: 'reloads_total{result="success"} 1.0' in site.get("metrics"), "a reload", 90
        )
        eventually(lambda: status in site.get("readyz"), f"refused with {status} again", 90)
        answers += [site.get(path) for path in ("metrics", "readyz", "healthz")]
    assert status in site.said(), "the log says why"
    assert "Traceback" not in site.said()
    state = [path.read_text() for path in (site.place / "state").rglob("*") if path.is_file()]
    for text in (*answers, site.said(), *state):
        for secret in (first, second):
            assert not [form for form in forms(secret, user) if form in text]
    assert (site.count("audit"), site.count("worker")) == (0, 0)
