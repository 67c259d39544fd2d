"""Each alert of deploy/ fires once for a real fault, from the service to its receiver.

Several faults are of one host, where a critical alert would keep the warnings back, so the
Alertmanager has no inhibitions here; tests/operations/test_live.py has them.

Times are shortened in a copy of the rules: a ``for`` is a second, a range of a minute six seconds,
and the thresholds of THRESHOLDS are smaller.  Nothing else of a rule is touched.  Where a busy
machine would exceed a smaller threshold by itself, the fault began before the test: a log, a
retention and a witness that have been silent for hours or days.  The faults are
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
from auditlog.evidence.checkpoint_file import CheckpointFile
from auditlog.evidence.note import Note
from auditlog.evidence.witness import Witness, WitnessedLogs, open_state
from auditlog.evidence.witness_client import request_body
from retention.memory import BootClock, RunStore
from retention.policy import RetentionPolicy
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
}
DAY: Final = dt.timedelta(days=1)
FAILED_RESTARTS: Final = 40
JSON: Final = {"X-Elastic-Product": "Elasticsearch"}


def with_short_times(rules: str) -> str:
    """Lower the thresholds and shorten the times, so that no fault has to last for minutes."""
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
        self.slow = self._slow_disk()
        self.witness = self._witness()
        self.damaged, self.late = self._damaged_agent(), self._late_agent()

    def start(self, *after: Process) -> None:
        """Start everything side by side, and what watches it once there are idle workers."""
        with ThreadPoolExecutor() as threads:
            started = [
                threads.submit(self.rbee.start, "hive", "queen"),
                threads.submit(self.other.start, "queen"),
                threads.submit(self.slow.start, "queen"),
                threads.submit(self._start_agents),
            ]
        for each in started:
            each.result()
        self.rbee.pool(5, "a")
        self.rbee.pool(1, "b")
        for process in after:
            process.start("/-/ready")

    def targets(self) -> dict[str, list[int]]:
        rbees = (self.rbee, self.other, self.slow)
        queens = [each.services["queen"].port for each in rbees]
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

    def make_restarts_fail(self) -> None:
        """Kill a worker whose model was changed meanwhile, so that no restart succeeds."""
        [worker] = self.rbee.workers("b")
        model = Path(str(self.rbee.settings["models_dir"]), "llama")
        model.write_bytes(b"GGUF, but changed meanwhile")
        os.kill(worker["pid"], signal.SIGKILL)

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

    def _slow_disk(self) -> Rbee:
        """A queen of which every sync takes 0.7 s at least, from the first one on."""
        rbee = self._rbee("three")
        queen = rbee.services["queen"]
        strace = [require("strace"), "-D", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull]
        strace += ["-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=700000"]
        queen._command = [*strace, *queen._command]
        return rbee

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

        One log has the name of another host's, and the journal has no directory.  The writers of
        three were killed an hour ago.  The host was down for three days, so that retention waits
        for a person, however little is to be deleted.
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
        self._run_retention(place / "state", [place / name for name in names])
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

    def _run_retention(self, state_dir: Path, directories: list[Path]) -> None:
        """Leave what a run of three days ago has left, before the host was started again."""
        state_dir.mkdir(mode=0o700)
        before = RunStore(state_dir, lambda: BootClock("the boot before", DAY))
        policy = RetentionPolicy(compress_after=DAY, delete_after=2 * DAY)
        for directory in directories:
            before.save(directory, self.now - 3 * DAY, policy, ["main"], {})

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
        self._cut_off()
        self.witness.start("/metrics")
        for agent in (self.damaged, self.late):
            agent.start("/healthz")

    def _cut_off(self) -> None:
        """The witness has last cosigned for the damaged host two hours ago: no way leads to it."""
        place, config = self.place / "damaged", self.place / "damaged/config.toml"
        (place / "trust.policy").write_text("quorum none\n")
        keys = auditctl("evidence", "init", "--config", config, "--origin", "a.example/h1")
        logs = auditctl("evidence", "init", "--config", config, "--for-witness")
        (self.place / "witness/logs").write_text(logs)
        auditctl("evidence", "sign", "--config", config)
        signer, state = open_state(self.place / "witness/state", "witness.example/w1")
        witness, at = Witness(signer, state, WitnessedLogs(logs)), self.now - DAY / 12
        for path in (place / "state/proofs").glob("*/checkpoints"):
            file = CheckpointFile(path)
            assert file.newest is not None
            note = file.newest.note
            reply = witness.add_checkpoint(request_body(0, [], note), int(at.timestamp()))
            assert reply.status == 200, reply
            cosigned = Note.parse(note.text + b"\n" + reply.body)
            file.append(note.with_signatures(cosigned.signatures), at)
        state.close()
        nowhere = f"{keys}witness w1 {signer.cosigner} http://127.0.0.1:9\nquorum w1\n"
        (place / "trust.policy").write_text(nowhere)


@dataclasses.dataclass
class Heard:
    """The notifications of the Alertmanager.

    slow     the instance whose disk is slow: on a busy machine that of any other is, too
    told     the receivers of each alert
    starts   when each alert began, by its name and its labels
    lapses   how often an instance was not scraped for a moment and then again
    """

    unmountable: str = ""
    slow: str = ""
    told: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    starts: dict[str, dict[str, set[str]]] = dataclasses.field(default_factory=dict)
    lapses: dict[str, int] = dataclasses.field(default_factory=dict)

    def hear(self, request: Request) -> Response:
        for alert in json.loads(request.data)["alerts"]:
            name = alert["labels"]["alertname"]
            is_other = name == "AuditSyncSlow" and alert["labels"]["instance"] != self.slow
            if alert["status"] == "firing" and not is_other:
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
        heard.slow = f"127.0.0.1:{site.slow.services['queen'].port}"
        server = stack.enter_context(HTTPServer())
        server.expect_request(re.compile("/.*")).respond_with_handler(heard.hear)
        webhook = server.url_for("").rstrip("/")
        alertmanager = Alertmanager(place, webhook, inhibition=False)
        targets = site.targets()
        prometheus = Prometheus(place, targets, alertmanager.port, with_short_times)
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
        eventually(lambda: len(prometheus.query(COUNTERS)) == 6, "every counter is scraped")
        eventually(lambda: len(prometheus.query("up == 1")) == 9, "everything is scraped")
        begun = time.monotonic()
        for cause in (site.fill_disk, site.move_segment_away, site.refuse_configuration):
            cause()
        site.stop_workers()
        wait_for({"HighFailedHealthChecks", "NoIdleWorkers"})
        site.kill_workers()
        site.make_restarts_fail()
        wait_for({"HighRestartRate", "CircuitBreakerActive"})
        wait_for(expected - LAST)
        site.damaged.stop(signal.SIGKILL)
        site.other.services["queen"].stop(signal.SIGKILL)
        wait_for(expected)
        seconds = int(time.monotonic() - begun)
        for labels, changes in prometheus.query(f"changes(up[{seconds}s])"):
            heard.lapses[labels["instance"]] = int(changes) // 2
        yield heard


COUNTERS: Final = """
    auditlog_writer_refused_records_total or auditlog_agent_reloads_total{result="failure"}
"""
OF_DISKS: Final = {
    *("AuditSpaceLow", "AuditSpaceCritical", "AuditWriterStalled", "LowDiskSpace", "LowMemory"),
}
"""Alerts that need a small disk, or another /proc/meminfo, to be mounted."""
LAST: Final = {"AuditAgentDown", "ServiceDown"}
"""Alerts whose faults end what the others need."""


@pytest.mark.parametrize("name", RULES)
def test_fires_for_a_real_fault(name: str, heard: Heard) -> None:
    if heard.unmountable and name in OF_DISKS:
        not_run("MOUNT", f"alerts of disks and memory: {heard.unmountable}")
    critical = RULES[name]["labels"]["severity"] == "critical"
    assert heard.told[name] == {"/slack-and-mail" if critical else "/slack"}


@pytest.mark.parametrize("name", RULES)
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
        changed = set(text.splitlines()) ^ set(with_short_times(text).splitlines())
        assert all(re.search(r"\d", line) for line in changed)
