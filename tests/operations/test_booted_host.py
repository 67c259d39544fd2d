"""A booted Debian, from nothing to records in a cluster with TLS, by the documented commands.

The tests share one host and go on where the one before ended.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from tests.support.booted_host import BootedHost, Unavailable
from tests.support.documents import Document
from tests.support.elasticsearch import ElasticsearchServer, User
from tests.support.elasticsearch import Unavailable as NoServer
from tests.support.operations import DEPLOY
from tests.support.programs import not_run, require
from tests.support.rbee import MODEL, SCOPES
from tests.support.waiting import eventually

ROOT: Final = DEPLOY.parent
PAGE: Final = Document.read(ROOT / "docs/put-it-on-a-host.md")
PACKAGE: Final = "'llama-orch-auditlog[agent]'"
OLD, NEW = "0.1.9", "0.2.0"
AUDIT: Final = "/var/log/llama-orch/audit"
USERS: Final = {
    "admin": User("the admin's passw0rd", ("superuser",)),
    "auditlog_shipper": User("the shipper's password", ("auditlog_shipper",)),
    "auditlog_setup": User("the set-up user's password", ("auditlog_setup",)),
}
UNITS: Final = ("auditlog-agent", "auditlog-retention")
LINES: Final = 3000
READYZ: Final = "http://127.0.0.1:9464/readyz"


@dataclass
class Site:
    """The host, the cluster beside it, and the wheels that `pip install` is given."""

    host: BootedHost
    cluster: ElasticsearchServer
    wheels: dict[str, str]
    followed: set[int] = field(default_factory=set)

    def follow(self, word: str, version: str = "") -> str:
        """Run the block of the page that has the word, with the wheel for the package's name."""
        [block] = (block for block in PAGE.blocks if word in block.text)
        self.followed.add(block.line)
        text = block.text.replace(PACKAGE, f"{self.wheels.get(version)}'[agent]'")
        return self.host.shell(text, network="pip install" not in text)

    def documents(self, index: str, phrase: str = "") -> list[dict[str, Any]]:
        """Return the documents of an index, newest last; with a phrase, those of that message."""
        self.cluster.request("POST", f"/{index}/_refresh")
        query: dict[str, Any] = {"size": 10_000, "sort": [{"@timestamp": "asc"}]}
        if phrase:
            query["query"] = {"match_phrase": {"message": phrase}}
        status, answer = self.cluster.request("POST", f"/{index}/_search", query)
        return [hit["_source"] for hit in answer["hits"]["hits"]] if status == 200 else []

    def messages(self, phrase: str = "") -> list[str]:
        found = self.documents("llama-orch-journal-*", phrase)
        return [str(each.get("message", each.get("MESSAGE", ""))) for each in found]

    def says(self, unit: str, message: str) -> None:
        """Have a unit write one line to the journal, under its own name."""
        self.prints(unit, f"echo {message}", message)

    def prints(self, unit: str, script: str, last: str) -> None:
        """Have a process in a unit that runs print into the journal, up to its last line.

        The unit itself is left alone: its lines follow what was there without others between.
        """
        group = self.host.run("systemctl", "show", "-P", "ControlGroup", unit).strip()
        read = f"journalctl --quiet --unit {unit} --output cat --lines 100"
        # Of a process that has ended before its first line is read, journald knows no unit.
        wait = f"until {read} | grep -xF '{last}' >&2; do sleep 0.1; done"
        places = " ".join(f"/sys/fs/cgroup{way}{group}" for way in ("", "/systemd", "/unified"))
        move = f"for place in {places}; do [ ! -d $place ] || echo $$ >$place/cgroup.procs; done"
        self.host.shell(f"{move}; ({script}; {wait}) | systemd-cat")

    def task(self) -> None:
        """Have alice submit a task, which the queen and the hive both record."""
        body = json.dumps({"model_ref": "llama", "prompt": "Who are you?"})
        asked = ["curl", "-sf", "--retry", "60", "--retry-all-errors", "--retry-delay", "1"]
        asked += ["-H", "authorization: Bearer alice-token", "-H", "content-type: application/json"]
        self.host.run(*asked, "-d", body, "http://127.0.0.1:8080/v2/tasks")


def wheel(place: Path, version: str) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place / version)],
        cwd=ROOT,
        env={**os.environ, "SETUPTOOLS_SCM_PRETEND_VERSION": version},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    [path] = (place / version).glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("booted")
    with ExitStack() as stack:
        try:
            host = stack.enter_context(BootedHost.prepare(place))
            # The cluster starts, and wheels are built, while the host boots.
            server = launched_server(host)
            stack.callback(server.discard)
            with ThreadPoolExecutor() as threads:
                built = {each: threads.submit(wheel, place, each) for each in (OLD, NEW)}
                host.boot()
        except Unavailable as error:
            not_run("BOOT", f"on a booted systemd: {error}")
        wheels = {}
        for version, building in built.items():
            shutil.copy(building.result(), host.root / "opt")
            wheels[version] = f"/opt/{building.result().name}"
        host.relay(9200, server.port)
        yield Site(host, server, wheels)


def launched_server(host: BootedHost) -> ElasticsearchServer:
    authority = trustme.CA()
    try:
        server = ElasticsearchServer.prepare(ROOT)
    except NoServer as error:
        not_run("ELASTICSEARCH", f"against a real Elasticsearch: {error}")
    server.secure(authority, USERS, (DEPLOY / "elasticsearch/roles.yml").read_text("utf-8"))
    server.launch()
    (host.root / "etc/auditlog").mkdir()
    authority.cert_pem.write_to_path(str(host.root / "etc/auditlog/ca.pem"))
    return server


def lay_out_services(host: BootedHost) -> None:
    """The example services below /opt/rbee, with a token, a model and their dependencies."""
    place = host.root / "opt/rbee"
    shutil.copytree(ROOT / "examples/rbee", place / "rbee")
    # A checkout below /tmp is not seen there.
    shutil.copy(ROOT / "requirements/dev.txt", place / "constraints.txt")
    (place / "sources").mkdir()
    (place / "sources/llama.gguf").write_bytes(MODEL)
    tokens = {user: f"{user}-token" for user in SCOPES}
    digests = {user: hashlib.sha256(token.encode()).hexdigest() for user, token in tokens.items()}
    (place / "tokens.toml").write_text(
        "".join(f'[{u}]\nsha256 = "{d}"\nscopes = {SCOPES[u]}\n' for u, d in digests.items())
    )
    (place / "hive.token").write_text(tokens["queen"] + "\n")
    for unit in ("queen-rbee.service", "rbee-hive.service"):
        shutil.copy(ROOT / "examples/rbee" / unit, host.root / "etc/systemd/system")


def install_what_services_need(host: BootedHost) -> None:
    pip = "/opt/auditlog/bin/pip install --quiet -c /opt/rbee/constraints.txt"
    host.shell(f"{pip} starlette uvicorn httpx psutil", network=False)


def follow_to_the_start(site: Site) -> None:
    """From the units and users to the started agent."""
    hint = site.follow("systemd-sysusers")
    assert "systemctl daemon-reload && auditctl config check\n" in hint
    assert "  systemctl enable --now auditlog-agent auditlog-retention\n" in hint
    assert "ok: 1 directory, 2 sources, 1 sink" in site.follow("/etc/auditlog/config.toml")
    try:
        site.cluster.wait_until_up()
    except NoServer as error:
        not_run("ELASTICSEARCH", f"against a real Elasticsearch: {error}")
    assert "template llama-orch-worker was created" in site.follow("auditctl setup")
    site.follow("systemctl enable --now auditlog-agent auditlog-retention")


def test_from_an_empty_debian_to_records_in_a_cluster_with_tls(site: Site) -> None:
    host = site.host
    if host.ask("/usr/bin/python3", "-c", "import ensurepip"):
        host.shell("apt-get update -qq", network=False)
        site.follow("apt-get install")
    site.follow("python3 -m venv", OLD)
    lay_out_services(host)
    with ThreadPoolExecutor() as threads:  # the page goes on meanwhile
        needed = threads.submit(install_what_services_need, host)
        follow_to_the_start(site)
    needed.result()
    worker = host.root / "var/log/llama-orch/worker"
    worker.mkdir()
    (worker / "w1.log").write_text('{"message":"worker up","level":"info"}\n')
    site.follow("systemctl enable --now rbee-hive")
    site.task()

    def logs() -> set[str]:
        return {document["log"] for document in site.documents("llama-orch-audit-*")}

    eventually(lambda: {"queen-rbee@gpu-1", "rbee-hive@gpu-1"} <= logs(), "both are shipped")
    eventually(lambda: site.documents("llama-orch-worker-*"), "the file of the worker is shipped")
    site.says("rbee-hive.service", "hive says hello")
    eventually(lambda: "hive says hello" in site.messages(), "the journal is shipped by the unit")
    printed = site.follow("readyz")
    assert "task_submitted" in printed
    assert "fail" not in re.findall(r"^\S+", printed, re.MULTILINE), printed
    for unit in (*UNITS, "queen-rbee", "rbee-hive"):
        assert host.ask("systemctl", "is-active", unit) == "active"
    for unit in UNITS:
        assert "usual" not in host.run("journalctl", "--quiet", "--unit", unit), "priorities"


def test_a_reload_fails_and_changes_nothing_when_the_configuration_is_refused(site: Site) -> None:
    config = site.host.root / "etc/auditlog/config.toml"
    good = config.read_text()
    before = site.host.ask("systemctl", "show", "-P", "MainPID", *UNITS)
    config.write_text("nonsense = 1\n" + good)
    for unit in UNITS:
        site.host.run("systemctl", "reload", unit, code=1)
        assert site.host.ask("systemctl", "is-active", unit) == "active"
    config.write_text(good)
    site.follow("systemctl reload")
    assert site.host.ask("systemctl", "show", "-P", "MainPID", *UNITS) == before


def test_holds_and_retention_work_by_hand_as_documented(site: Site) -> None:
    printed = site.follow("hold add")
    assert "case-17" in printed
    assert "Permission denied" not in printed
    assert "case 17" in site.host.run("auditctl", "hold", "list", user="llama-orch")


def test_the_units_user_compresses_legacy_files_that_root_owns(site: Site) -> None:
    config = site.host.root / "etc/auditlog/config.toml"
    with config.open("a") as file:
        file.write('[[retention.foreign]]\npattern = "old.*"\nshipped = "not_required"\n')
    now = dt.datetime.now(dt.UTC)
    for name, age in (
        ("old.1.ndjson", 50),
        ("old.2.ndjson", 40),
    ):  # the newest of a pattern is kept
        path = site.host.root / AUDIT[1:] / name
        at = now - dt.timedelta(days=age)
        path.write_text(json.dumps({"@timestamp": at.isoformat(), "message": "old"}) + "\n")
        os.utime(path, (at.timestamp(), at.timestamp()))
        path.chmod(0o644)
        assert path.stat().st_uid == 0
    assert "1 compressed" in site.host.run("auditctl", "prune", user="llama-orch")
    names = {path.name for path in (site.host.root / AUDIT[1:]).glob("old.*")}
    assert names == {"old.1.ndjson.gz", "old.2.ndjson"}


def test_install_refuses_a_program_that_the_units_could_not_execute(site: Site) -> None:
    """Both ways: below /root, which ProtectHome hides, and in a directory only root may enter."""
    for place in ("/root", "/opt/private"):
        path = site.host.root / place[1:]
        path.mkdir(mode=0o700, exist_ok=True)
        (path / "auditctl").write_text("#!/bin/sh\n")
        (path / "auditctl").chmod(0o755)
        command = ("auditctl", "install", "--program", f"{place}/auditctl")
        assert "the units could not start" in site.host.run(*command, code=1)
        unit = site.host.root / "etc/systemd/system/auditlog-agent.service"
        assert f"{place}/auditctl" not in unit.read_text()


@pytest.mark.parametrize("end", ["shut_down", "cut"])
def test_the_journal_of_the_boot_before_is_shipped_once(site: Site, end: str) -> None:
    host = site.host

    def lines(first: int, last: int) -> None:
        script = f"seq -f 'line %g before {end}' {first} {last}"
        site.prints("rbee-hive.service", script, f"line {last} before {end}")

    lines(1, LINES // 2)
    eventually(lambda: site.messages(f"line {LINES // 2} before {end}"), "half of them is shipped")
    host.run("systemctl", "stop", "auditlog-agent")  # so that a line is next behind its cursor
    lines(LINES // 2 + 1, LINES)
    site.says("rbee-hive.service", f"last words before {end}")
    host.run("journalctl", "--sync")
    if end == "cut":  # amid shipping
        host.run("systemctl", "start", "auditlog-agent")
        eventually(lambda: site.messages(f"line {LINES // 2 + 1} before {end}"), "it goes on")
    getattr(host, end)()
    host.boot()
    site.says("rbee-hive.service", f"first words after {end}")
    eventually(lambda: site.messages(f"first words after {end}"), "this boot is shipped")
    # Several requests are under way at once: what came later may be there first.
    eventually(lambda: site.messages(f"last words before {end}"), "the boot before is shipped")
    assert site.messages(f"last words before {end}") == [f"last words before {end}"]
    wanted = sorted(f"line {n} before {end}" for n in range(1, LINES + 1))
    eventually(lambda: len(site.messages(f"before {end}")) > LINES, "all its lines are shipped")
    assert sorted(m for m in site.messages(f"before {end}") if m.startswith("line")) == wanted
    site.task()
    eventually(lambda: pending(site) == 0, "all is shipped")
    assert "ok" in host.run("auditctl", "verify", user="llama-orch")


def test_a_damaged_file_of_an_earlier_boot_of_the_journal_is_named(site: Site) -> None:
    host, middle = site.host, f"line {LINES // 2} before cut".encode()
    host.run("systemctl", "stop", "auditlog-agent")
    files = host.root.glob("var/log/journal/*/system@*")
    [damaged] = (path for path in files if middle in path.read_bytes())
    with damaged.open("r+b") as file:
        file.seek(file.read().index(middle) - 64)
        file.write(b"\xa5" * 256)
    # It begins with the oldest entries again.
    shutil.rmtree(host.root / "var/lib/auditlog/source-cursors")
    host.run("systemctl", "start", "auditlog-agent")
    eventually(lambda: damaged.name in host.ask("curl", "-s", READYZ), "it is not ready")
    said = host.run("journalctl", "--quiet", "--boot", "--unit", "auditlog-agent")
    assert f"journalctl --verify --file=/var/log/journal/{damaged.parent.name}/" in said
    assert len(site.messages("before cut")) == LINES + 1, "nothing is there twice"
    damaged.unlink()
    eventually(lambda: damaged.name not in host.ask("curl", "-s", READYZ), "it is over")
    eventually(lambda: host.run("curl", "-sf", READYZ), "it is ready")


def pending(site: Site) -> int:
    status = json.loads(site.host.ask("auditctl", "status", "--json"))
    lags: list[int] = [sink["lag_records"] for log in status["logs"] for sink in log["sinks"]]
    return sum(lags)


def test_an_upgrade_keeps_what_waits_and_goes_on(site: Site) -> None:
    host = site.host
    assert OLD in host.run("auditctl", "--version")
    # The agent is down while the services record.
    host.run("systemctl", "stop", "auditlog-agent")
    before = len(site.documents("llama-orch-audit-*"))
    site.task()
    printed = site.follow("pip install --quiet --upgrade", NEW)
    assert NEW in host.run("auditctl", "--version")
    assert "yours" in printed, "the configuration stays"
    eventually(lambda: len(site.documents("llama-orch-audit-*")) > before, "it goes on")
    for unit in UNITS:
        assert host.ask("systemctl", "is-active", unit) == "active"


def test_uninstalling_leaves_logs_and_state_and_no_unit(site: Site) -> None:
    host = site.host
    host.run("systemctl", "stop", "queen-rbee", "rbee-hive")
    site.follow("rm -r /opt/auditlog")
    for unit in UNITS:
        assert host.ask("systemctl", "show", "-P", "LoadState", unit) == "not-found"
    assert not list(host.root.glob("etc/systemd/system/*/50-auditlog.conf"))
    assert list((host.root / AUDIT[1:]).glob("queen-rbee@gpu-1.*.ndjson"))
    assert list((host.root / "var/lib/auditlog/cursors").rglob("*"))
    run = {block.line for block in PAGE.blocks if "apt-get install" not in block.text}
    assert run <= site.followed, "every block of the page was run"


def test_where_nothing_may_be_mounted_it_is_said_at_once() -> None:
    """A plain container: its root is not allowed what a boot needs."""
    without = [require("setpriv"), "--inh-caps", "-sys_admin", "--bounding-set", "-sys_admin"]
    command = without if os.geteuid() == 0 else []
    command += [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    command += [__file__, "-k", "reload"]
    environment = {
        name: text for name, text in os.environ.items() if name != "AUDITLOG_REQUIRE_BOOT"
    }
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "NOT TESTED: 1 test(s): on a booted systemd: " in done.stdout
