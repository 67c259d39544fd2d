"""Each alert of deploy/ fires once for a real fault, from the service to its receiver.

Several faults are of one host, where a critical alert would keep the warnings back, so the
Alertmanager has no inhibitions here; tests/operations/test_live.py has them.

Times are shortened in a copy of the rules: a ``for`` is a second, a range of a minute six seconds,
and the thresholds of THRESHOLDS are smaller.  Nothing else of a rule is touched.  The faults are
real: workers that do not answer, full disks, a slow one, a segment that is moved away, changed or
contradicted by the sink, servers that are down.  Memory cannot be used up: the hive is shown a
/proc/meminfo where it is.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

import auditlog
from tests.support.logs import LogBuilder, write_log
from tests.support.monitoring import Alertmanager, Prometheus
from tests.support.operations import DEPLOY, alerts
from tests.support.ports import free_port
from tests.support.programs import not_run, require
from tests.support.rbee import Process, Rbee
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(900)  # all faults are made in the set-up, one after the other

RULES: Final = {rule["alert"]: rule for _, rule in alerts()}
THRESHOLDS: Final = {
    "shutdown_duration_seconds_bucket[15m]))\n          ) > 25": (
        "shutdown_duration_seconds_bucket[15m]))\n          ) > 0.4"
    ),
    "restart_failures_total[5m]) > 0.5": "restart_failures_total[5m]) > 0.05",
    "lag_records > 100000": "lag_records > 100",
    "overdue_seconds > 86400": "overdue_seconds > 1",
    "witnessed_timestamp_seconds > 3600": "witnessed_timestamp_seconds > 8",
    "last_record_timestamp_seconds > 900": "last_record_timestamp_seconds > 8",
    "checkpoint_age_seconds > 3600": "checkpoint_age_seconds > 8",
    ") > 2 * 86400": ") > 8",
}
DAY: Final = dt.timedelta(days=1)
FAILED_RESTARTS: Final = 40
JSON: Final = {"X-Elastic-Product": "Elasticsearch"}


def hurried(rules: str) -> str:
    for written, shortened in THRESHOLDS.items():
        rules = rules.replace(written, shortened)
    rules = re.sub(r"^(\s+for: )\d+m$", r"\g<1>1s", rules, flags=re.MULTILINE)
    return re.sub(r"\[(\d+)m\]", lambda found: f"[{6 * int(found[1])}s]", rules)


def auditctl(*arguments: object) -> str:
    command = [sys.executable, "-m", "auditctl", *(str(each) for each in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusing_elasticsearch(server: HTTPServer) -> str:
    """One that has every record already, and shows none."""

    def bulk(request: Request) -> Response:
        error = {"type": "version_conflict_engine_exception", "reason": "it is there"}
        items = [
            {"create": {"_id": json.loads(line)["create"]["_id"], "status": 409, "error": error}}
            for line in request.get_data().splitlines()[::2]
        ]
        answer = json.dumps({"items": items})
        return Response(answer, headers=JSON, mimetype="application/json")

    def forbidden(_: Request) -> Response:
        error = {"error": {"type": "security_exception", "reason": "no"}, "status": 403}
        return Response(json.dumps(error), 403, JSON, mimetype="application/json")

    server.expect_request("/_bulk").respond_with_handler(bulk)
    server.expect_request("/_mget").respond_with_handler(forbidden)
    server.expect_request(re.compile("/.*")).respond_with_json({}, headers=JSON)
    return server.url_for("").rstrip("/")


class Site:
    """Two hosts of services, two agents and a witness, with what is wrong with them."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        self.place, self._stack = place, stack
        self.unmountable = ""
        self.now = dt.datetime.now(dt.UTC)
        # The hive's log is on a disk with less than a gigabyte, its models on one that is full.
        roomy, models, full = (
            self._disk(name, size)
            for name, size in (("roomy", "512m"), ("m", "1m"), ("full", "1m"))
        )
        self.full = full
        if not self.unmountable:
            (models / "ballast").write_bytes(bytes(950 << 10))
        self.rbee = self._rbee(
            "one", audit_dir=roomy / "audit", models_dir=models / "models", health_timeout=0.2,
            health_failures=100_000, shutdown_grace=0.5, breaker_restarts=FAILED_RESTARTS,
            fail_closed=0,
        )  # fmt: skip
        self.rbee.audit = roomy / "audit"
        hive = self.rbee.services["hive"]
        mount = 'mount --bind "$0" /proc/meminfo && exec "$@"'
        shown = ["unshare", "--mount", "sh", "-c", mount, str(self._little_memory())]
        if not self.unmountable:
            hive._command = [*shown, *hive._command]
        self.other = self._rbee("two", audit_dir=full / "audit", record_timeout=1)
        self.witness = self._witness()
        self.damaged, self.late = self._damaged_agent(), self._late_agent()

    def start(self, *after: Process) -> None:
        """Start everything side by side, and what watches it once there are idle workers."""
        with ThreadPoolExecutor() as threads:
            started = [
                threads.submit(self.rbee.start, "hive", "queen"),
                threads.submit(self.other.start, "queen"),
                threads.submit(self._start_agents),
            ]
        for each in started:
            each.result()
        self.rbee.pool(5, "a")
        self.rbee.pool(1, "b")
        for process in after:
            process.start("/-/ready")

    def targets(self) -> dict[str, list[int]]:
        queens = [each.services["queen"].port for each in (self.rbee, self.other)]
        return {
            "queen-rbee": queens,
            "rbee-hive": [self.rbee.services["hive"].port],
            "auditlog-agent": [self.damaged.port, self.late.port],
            "auditlog-witness": [self.witness.port],
            "auditlog-fleet": [self._fleet()],
        }

    # The faults ------------------------------------------------------------------------------

    def stop_workers(self) -> None:
        """Stop those of both pools, so that none is idle from now on."""
        for worker in (*self.rbee.workers("a"), *self.rbee.workers("b")):
            os.kill(worker["pid"], signal.SIGSTOP)

    def kill_workers(self) -> None:
        assert self.rbee.ask("DELETE", "hive", "/v2/pools/a").status_code == 204

    def spoil_model(self) -> None:
        """A worker is killed, and its model was changed meanwhile: no restart succeeds."""
        [worker] = self.rbee.workers("b")
        model = Path(str(self.rbee.settings["models_dir"]), "llama")
        model.write_bytes(b"GGUF, but changed meanwhile")
        os.kill(worker["pid"], signal.SIGKILL)

    def slow_disk(self) -> None:
        """Every sync of the hive takes 0.7 s from now on."""
        hive = self.rbee.services["hive"]
        command = [require("strace"), "-f", "-qq", "-o", os.devnull, "-p", str(hive.pid)]
        command += ["-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=700000"]
        strace = subprocess.Popen(command)
        self._stack.callback(_ended, strace)
        model = {"model_ref": "other", "source": "../secret"}

        def is_noticed() -> bool:
            """One in a hundred has to be slow, however many were quick before."""
            self.rbee.ask("POST", "hive", "/v2/models", model)
            return self.rbee.metric("hive", "auditlog_writer_commit_p99_seconds") > 0.5

        eventually(is_noticed)

    def move_segment_away(self) -> None:
        [segment] = self.rbee.audit.glob("queen-rbee*.ndjson")
        segment.rename(self.rbee.audit / "moved-away")
        failed = "auditlog_writer_failed_state"
        eventually(lambda: self.rbee.metric("queen", failed) == 1)
        self._submit(self.rbee)

    def fill_disk(self) -> None:
        if self.unmountable:
            return
        with (self.full / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        eventually(lambda: self._submit(self.other) == 503)

    def refuse_configuration(self) -> None:
        config = self.place / "late/config.toml"
        config.write_text("nonsense = 1\n" + config.read_text())
        os.kill(self.late.pid, signal.SIGHUP)

    def _submit(self, rbee: Rbee) -> int:
        asked = {"model_ref": "llama", "prompt": "x"}
        return rbee.ask("POST", "queen", "/v2/tasks", asked).status_code

    # Their hosts -----------------------------------------------------------------------------

    def _rbee(self, name: str, **settings: object) -> Rbee:
        (self.place / name).mkdir()
        return self._stack.enter_context(Rbee(self.place / name, **settings))

    def _disk(self, name: str, size: str) -> Path:
        place = self.place / name
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            self.unmountable = done.stderr.decode().strip()
        else:
            self._stack.callback(subprocess.run, ["umount", "-l", str(place)], check=True)
        return place

    def _little_memory(self) -> Path:
        """The machine's /proc/meminfo, with a twentieth left."""
        text = Path("/proc/meminfo").read_text()
        total = int(re.findall(r"MemTotal: +(\d+)", text)[0])
        path = self.place / "meminfo"
        path.write_text(re.sub(r"(MemAvailable: +)\d+", rf"\g<1>{total // 20}", text))
        return path

    def _agent(self, name: str, config: str) -> Process:
        port = free_port()
        path = self.place / name / "config.toml"
        path.write_text(
            f"state_dir = '{path.parent}/state'\nhost = '{name}'\nmetrics = '127.0.0.1:{port}'\n"
            + config
        )
        command = [sys.executable, "-m", "auditctl", "agent", "--config", str(path)]
        agent = Process(command, port, path.parent / "agent.log")
        self._stack.callback(agent.close)
        return agent

    def _damaged_agent(self) -> Process:
        """A line that is gone, a record that the sink has otherwise, and much to be deleted.

        One log has the name of another host's, and the journal has no directory.

        Its checkpoints are cosigned as long as the witness is there.
        """
        place = self.place / "damaged"
        path = write_log(place / "changed", "changed@damaged", at=self.now - DAY / 24).active
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:5] + lines[6:]))
        write_log(place / "sound", "sound@damaged", at=self.now - DAY / 24)
        for name, user in (("before", "mallory"), ("twice", "alice")):
            (place / name).mkdir()
            LogBuilder(place / name, "twice@damaged", self.now - DAY / 24).append(
                3, actor={"user_id": user}
            )
        auditctl("ship", place / "before", "--to", place / "index.sqlite", "--once")
        shutil.rmtree(place / "before")
        for name in ("clone", "taken"):
            auditlog.open(place / name, service="taken", host="damaged").close()
            if name == "clone":
                auditctl("ship", place / name, "--to", place / "index.sqlite", "--once")
        write_log(
            place / "old", "old@damaged", segments=4, days=1, records=2, at=self.now - 9 * DAY
        )
        names = ("changed", "sound", "twice", "taken", "old")
        listed = ", ".join(f"'{place}/{name}'" for name in names)
        return self._agent(
            "damaged",
            f"directories = [{listed}]\n"
            f"[sinks.main]\nkind = 'sqlite'\npath = '{place}/index.sqlite'\n"
            "[[sources.journald]]\nname = 'journal'\nunits = ['x.service']\n"
            f"directory = '{place}/none'\n"
            "[retention]\ncompress_after = '1d'\ndelete_after = '2d'\nevery = '1s'\n"
            f"[evidence]\npolicy = '{place}/trust.policy'\ncheckpoint_every = '1s'\n",
        )

    def _late_agent(self) -> Process:
        """Old records; one sink and the archive are down, the other sink shows nothing it has.

        Verifying has so little of the processor that it is never done in time.
        """
        place = self.place / "late"
        log = write_log(
            place / "audit", "late@late", records=150, segments=2, days=1, at=self.now - 80 * DAY
        )
        os.utime(log.paths[0], ((self.now - 80 * DAY).timestamp(),) * 2)
        secret = place / "archive.key"
        secret.touch(mode=0o600)
        secret.write_text("the archive's secret")
        server = self._stack.enter_context(HTTPServer())
        return self._agent(
            "late",
            f"directories = ['{place}/audit']\n"
            "[sinks.down]\nkind = 'elasticsearch'\nurls = ['http://127.0.0.1:9']\n"
            f"[sinks.mute]\nkind = 'elasticsearch'\nurls = ['{refusing_elasticsearch(server)}']\n"
            "[archive]\nbucket = 'audit'\nendpoint = 'http://127.0.0.1:9'\nregion = 'here'\n"
            f"access_key_id = 'id'\nsecret_access_key_file = '{secret}'\n"
            "[evidence]\nverify_every = '1s'\nverify_cpu_share = 0.0001\n",
        )

    def _fleet(self) -> int:
        """Serve what `auditctl fleet` says of an index that lacks a record."""
        place = self.place / "fleet"
        write_log(place / "audit", "gapped@fleet", at=self.now)
        index = place / "index.sqlite"
        auditctl("ship", place / "audit", "--to", index, "--once")
        with closing(sqlite3.connect(index)) as connection, connection:
            connection.execute("DELETE FROM records WHERE seq = 5")
        command = [sys.executable, "-m", "auditctl", "fleet", str(index), "--metrics"]
        text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        server = self._stack.enter_context(HTTPServer())
        server.expect_request("/metrics").respond_with_data(text, content_type="text/plain")
        return server.port

    def _witness(self) -> Process:
        port, place = free_port(), self.place / "witness"
        place.mkdir()
        command = [sys.executable, "-m", "auditctl", "witness", "serve"]
        command += ["--listen", f"127.0.0.1:{port}", "--state", str(place / "state")]
        command += ["--logs", str(place / "logs"), "--name", "witness.example/w1"]
        witness = Process(command, port, place / "said")
        self._stack.callback(witness.close)
        return witness

    def _start_agents(self) -> None:
        place = self.place / "damaged"
        init = ("evidence", "init", "--config", place / "config.toml", "--origin", "a.example/h1")
        (place / "trust.policy").write_text("quorum none\n")
        keys = auditctl(*init)
        (self.place / "witness/logs").write_text(auditctl(*init, "--for-witness"))
        self.witness.start("/metrics")
        [line] = re.findall(r"^witness \S+ (\S+ \S+)$", self.witness.said(), re.MULTILINE)
        (place / "trust.policy").write_text(f"{keys}witness w1 {line}\nquorum w1\n")
        for agent in (self.damaged, self.late):
            agent.start("/healthz")


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)


@dataclasses.dataclass
class Heard:
    """The notifications of the Alertmanager.

    told     the receivers of each alert
    starts   when each alert began, by its name and its labels
    lapses   how often an instance was not scraped for a moment and then again
    """

    unmountable: str = ""
    told: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    starts: dict[str, dict[str, set[str]]] = dataclasses.field(default_factory=dict)
    lapses: dict[str, int] = dataclasses.field(default_factory=dict)

    def hear(self, request: Request) -> Response:
        for alert in json.loads(request.data)["alerts"]:
            if alert["status"] == "firing":
                name = alert["labels"]["alertname"]
                starts = self.starts.setdefault(name, {})
                starts.setdefault(json.dumps(alert["labels"]), set()).add(alert["startsAt"])
                self.told.setdefault(name, set()).add(request.path)
        return Response("")


@pytest.fixture(scope="module")
def heard(needs: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heard]:
    needs("prometheus", "prometheus-alertmanager")
    require("strace")
    place = tmp_path_factory.mktemp("alerts")
    heard = Heard()

    with ExitStack() as stack:
        site = Site(place, stack)
        server = stack.enter_context(HTTPServer())
        server.expect_request(re.compile("/.*")).respond_with_handler(heard.hear)
        webhook = server.url_for("").rstrip("/")
        alertmanager = Alertmanager(place, webhook, inhibition=False)
        targets = site.targets()
        prometheus = Prometheus(place, targets, alertmanager.port, hurried)
        for process in (alertmanager, prometheus):
            stack.callback(process.close)
        site.start(alertmanager, prometheus)
        heard.unmountable = site.unmountable
        expected = RULES.keys() - (OF_DISKS if site.unmountable else set())

        def wait_for(names: set[str]) -> None:
            try:
                eventually(lambda: names <= heard.told.keys(), seconds=300)
            except AssertionError:
                pytest.fail(f"told to nobody: {sorted(names - heard.told.keys())}")

        # An increase is seen by who has seen the counter before.
        eventually(lambda: len(prometheus.query(COUNTERS)) == 5, "every counter is scraped")
        eventually(lambda: len(prometheus.query("up == 1")) == 8, "everything is scraped")
        begun = time.monotonic()
        for cause in (site.fill_disk, site.move_segment_away, site.refuse_configuration):
            cause()
        site.stop_workers()
        wait_for({"HighFailedHealthChecks", "NoIdleWorkers"})
        site.kill_workers()
        site.spoil_model()
        wait_for({"HighRestartRate", "CircuitBreakerActive"})
        site.slow_disk()
        eventually(lambda: prometheus.query(WITNESSED), "it is witnessed")
        site.witness.stop()
        wait_for(expected - LAST)
        site.witness.start("/metrics")
        site.damaged.stop(signal.SIGKILL)
        site.other.services["queen"].stop(signal.SIGKILL)
        wait_for(expected)
        seconds = int(time.monotonic() - begun)
        for labels, changes in prometheus.query(f"changes(up[{seconds}s])"):
            heard.lapses[labels["instance"]] = int(changes) // 2
        yield heard


WITNESSED: Final = 'auditlog_evidence_witnessed_timestamp_seconds{log="sound@damaged"}'
COUNTERS: Final = """
    auditlog_writer_refused_records_total or auditlog_agent_reloads_total{result="failure"}
"""
OF_DISKS: Final = {
    *("AuditSpaceLow", "AuditSpaceCritical", "AuditWriterStalled", "LowDiskSpace", "LowMemory"),
}
"""Alerts that need a small disk, or another /proc/meminfo, to be mounted."""
LAST: Final = {"AuditAgentDown", "AuditHostSilent", "ServiceDown"}
"""Alerts whose faults end what the others need."""


SHORTENED: Final = {
    *("AuditHostSilent", "AuditLogSilent", "AuditNotWitnessed", "AuditRetentionOverdue"),
    "AuditSyncSlow",
}
"""Alerts with a limit of seconds here, which a busy machine exceeds now and then by itself."""


@pytest.mark.parametrize("name", RULES)
def test_fires_for_a_real_fault(name: str, heard: Heard) -> None:
    if heard.unmountable and name in OF_DISKS:
        not_run("MOUNT", f"alerts of disks and memory: {heard.unmountable}")
    critical = RULES[name]["labels"]["severity"] == "critical"
    assert heard.told[name] == {"/slack-and-mail" if critical else "/slack"}


@pytest.mark.parametrize("name", [name for name in RULES if name not in SHORTENED])
def test_fires_once_while_its_cause_stands(name: str, heard: Heard) -> None:
    """An alert that ends and begins again is told with another beginning.

    The end of an alert is also that Prometheus could not scrape its instance for a moment.
    """
    if heard.unmountable and name in OF_DISKS:
        not_run("MOUNT", f"alerts of disks and memory: {heard.unmountable}")
    for labels, starts in heard.starts[name].items():
        lapses = heard.lapses.get(json.loads(labels).get("instance", ""), 0)
        assert len(starts) <= 1 + lapses, f"{labels} began at {sorted(starts)}"


def test_thresholds_and_times_are_all_that_is_made_smaller() -> None:
    texts = [path.read_text("utf-8") for path in (DEPLOY / "prometheus/rules").glob("*.yml")]
    for written in THRESHOLDS:
        assert sum(text.count(written) for text in texts) == 1, written
    for text in texts:
        changed = set(text.splitlines()) ^ set(hurried(text).splitlines())
        assert all(re.search(r"\d", line) for line in changed)
