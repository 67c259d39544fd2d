"""The two example services: what they do, what they record of it, and what they tell Prometheus."""

from __future__ import annotations

import asyncio
import contextvars
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import auditlog
from auditlog import Record, events
from auditlog.bridges.asgi import AuditMiddleware
from rbee.queen import Queen, Task
from rbee.service import Answered
from rbee.settings import Settings
from rbee.trail import Trail
from tests.support.rbee import MODEL_SHA256, Rbee
from tests.support.waiting import eventually

GUIDE = {
    "rbee_hive_workers_total": "gauge",
    "rbee_hive_workers_failed_health_checks": "gauge",
    "rbee_hive_workers_restart_count": "gauge",
    "rbee_hive_worker_restart_failures_total": "counter",
    "rbee_hive_circuit_breaker_activations_total": "counter",
    "rbee_hive_memory_total_bytes": "gauge",
    "rbee_hive_memory_available_bytes": "gauge",
    "rbee_hive_disk_total_bytes": "gauge",
    "rbee_hive_disk_available_bytes": "gauge",
    "rbee_hive_worker_spawn_resource_failures_total": "counter",
    "rbee_hive_shutdown_duration_seconds": "histogram",
    "rbee_hive_workers_graceful_shutdown_total": "counter",
    "rbee_hive_workers_force_killed_total": "counter",
    "rbee_hive_models_downloaded_total": "counter",
    "rbee_hive_download_active": "gauge",
}
"""Names and types of the monitoring guide."""


@pytest.fixture
def rbee(tmp_path: Path) -> Iterator[Rbee]:
    with Rbee(tmp_path) as services:
        yield services


@pytest.fixture
def hive(rbee: Rbee) -> Rbee:
    rbee.start("hive")
    return rbee


def recorded(rbee: Rbee, *types: str, service: str = "rbee-hive") -> list[Record]:
    return [
        record
        for record in auditlog.read(rbee.audit, log_events=True)
        if record.event_type in types and record.log == f"{service}@hive1"
    ]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it may end between open and read
        return False
    return state != "Z"


def test_every_metric_of_the_guide_has_its_name_type_and_labels(hive: Rbee) -> None:
    hive.pool(1)
    page = hive.exposition("hive")
    types = dict(
        line.split()[2:4] for line in page.splitlines() if line.startswith("# TYPE rbee_hive_")
    )
    assert {name: kind for name, kind in types.items() if not name.endswith("_created")} == GUIDE
    assert (
        hive.metric("hive", "rbee_hive_workers_total", state="idle", backend="cuda", device="0")
        == 1
    )
    assert (
        hive.metric("hive", "rbee_hive_workers_total", state="busy", backend="cuda", device="0")
        == 0
    )
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert hive.metric("hive", "rbee_hive_memory_total_bytes") == total
    assert 0 < hive.metric("hive", "rbee_hive_memory_available_bytes") < total
    state = os.statvfs(hive.place)
    assert hive.metric("hive", "rbee_hive_disk_total_bytes") == state.f_blocks * state.f_frsize
    assert hive.metric("hive", "auditlog_writer_durable_records_total", log="rbee-hive@hive1") > 3


def test_a_request_is_one_story_over_both_services(rbee: Rbee) -> None:
    rbee.start("hive", "queen")
    rbee.pool(1)
    task_id = rbee.task("req-story", prompt="my secret prompt", max_tokens=7)
    for service in ("queen", "hive"):
        assert rbee.services[service].stop() == 0
    story = [
        (record.log, record.event_type)
        for record in auditlog.read(rbee.audit, log_events=True)
        if record.fields.get("correlation_id") == "req-story"
    ]
    assert sorted(story) == [
        ("queen-rbee@hive1", "http.request"),
        ("queen-rbee@hive1", "task_completed"),
        ("queen-rbee@hive1", "task_submitted"),
        ("rbee-hive@hive1", "http.request"),
        ("rbee-hive@hive1", "inference_executed"),
    ]
    [submitted] = recorded(rbee, "task_submitted", service="queen-rbee")
    assert submitted.fields["actor"]["user_id"] == "alice"
    assert submitted.fields["actor"]["session_id"].startswith("token:")
    assert submitted.fields["resource"]["resource_id"] == task_id
    [executed] = recorded(rbee, "inference_executed")
    assert executed.fields["actor"]["user_id"] == "queen"
    assert executed.fields["details"]["customer_id"] == "alice"
    assert executed.fields["details"]["tokens_processed"] == 7
    content = b"".join(path.read_bytes() for path in rbee.audit.glob("*.ndjson"))
    assert b"my secret prompt" not in content
    assert not any(token.encode() in content for token in rbee.tokens.values())
    assert auditlog.verify(rbee.audit).ok


def test_a_worker_is_busy_while_it_works_and_a_task_can_be_called_off(rbee: Rbee) -> None:
    rbee.start("hive", "queen")
    rbee.pool(2)
    asked = {"model_ref": "llama", "prompt": "x", "max_tokens": 1000, "seconds": 600}
    task_id = rbee.post("queen", "/v2/tasks", asked)["task_id"]
    eventually(lambda: rbee.metric("hive", "rbee_hive_workers_total", state="busy") == 1)
    assert rbee.metric("hive", "rbee_hive_workers_total", state="idle") == 1
    assert rbee.metric("queen", "queen_rbee_tasks_running") == 1
    assert rbee.ask("DELETE", "queen", f"/v2/tasks/{task_id}").status_code == 202
    eventually(lambda: rbee.state(task_id) == "canceled")
    eventually(lambda: rbee.metric("hive", "rbee_hive_workers_total", state="idle") == 2)
    [canceled] = recorded(rbee, "task_canceled", service="queen-rbee")
    assert canceled.fields["details"]["worker_id"] == "a-1"


def test_what_no_hive_can_do_fails_and_says_why(rbee: Rbee) -> None:
    rbee.start("hive", "queen")
    rbee.task(until="failed")
    rbee.services["hive"].stop()
    rbee.task(until="failed")
    reasons = [
        record.fields["reason"] for record in recorded(rbee, "task_completed", service="queen-rbee")
    ]
    assert reasons == ["hive1: no worker of this model is idle", "hive1 cannot be reached"]
    assert rbee.metric("queen", "queen_rbee_tasks_ended_total", state="failed") == 2
    rbee.post(
        "queen", "/v2/nodes", {"node_id": "hive2", "url": "http://127.0.0.1:9", "gpu_count": 8}
    )
    assert rbee.ask("DELETE", "queen", "/v2/nodes/hive2").status_code == 204
    assert rbee.ask("DELETE", "queen", "/v2/nodes/hive2").status_code == 404
    nodes = recorded(rbee, "node_registered", "node_deregistered", service="queen-rbee")
    assert [(node.event_type, node.fields["actor"]["user_id"]) for node in nodes] == [
        ("node_registered", "queen-rbee"),
        ("node_registered", "alice"),
        ("node_deregistered", "alice"),
    ]


def test_a_pool_grows_shrinks_and_goes_and_each_step_is_recorded(hive: Rbee) -> None:
    pids = [worker["pid"] for worker in hive.pool(2)]
    assert hive.ask("PATCH", "hive", "/v2/pools/a", {"replicas": 3}).status_code == 200
    eventually(lambda: hive.metric("hive", "rbee_hive_workers_total", state="idle") == 3)
    assert hive.ask("PATCH", "hive", "/v2/pools/a", {"replicas": 1}).status_code == 200
    assert hive.metric("hive", "rbee_hive_workers_graceful_shutdown_total") == 2
    assert hive.ask("DELETE", "hive", "/v2/pools/a").status_code == 204
    assert hive.metric("hive", "rbee_hive_workers_graceful_shutdown_total") == 3
    assert hive.metric("hive", "rbee_hive_workers_force_killed_total") == 0
    assert hive.metric("hive", "rbee_hive_shutdown_duration_seconds_count") == 3
    assert not any(map(alive, pids))
    steps = recorded(hive, "pool_created", "pool_modified", "pool_deleted")
    assert [step.event_type for step in steps] == [
        "pool_created",
        "pool_modified",
        "pool_modified",
        "pool_deleted",
    ]
    taken = len(recorded(hive, "vram_allocated"))
    assert (
        taken == len(recorded(hive, "vram_deallocated")) == len(recorded(hive, "vram_sealed")) == 3
    )


def test_a_killed_worker_is_restarted_until_the_breaker_opens(hive: Rbee) -> None:
    [worker] = hive.pool(1)
    for restarts in (1, 2, 3):
        os.kill(worker["pid"], signal.SIGKILL)
        eventually(
            lambda: (
                hive.workers()[0]["restarts"] == restarts  # noqa: B023  (called at once)
                and hive.workers()[0]["state"] == "idle"
            )
        )
        [worker] = hive.workers()
    assert hive.metric("hive", "rbee_hive_workers_restart_count") == 3
    assert hive.metric("hive", "rbee_hive_circuit_breaker_activations_total") == 0
    os.kill(worker["pid"], signal.SIGKILL)
    eventually(lambda: hive.metric("hive", "rbee_hive_circuit_breaker_activations_total") == 1)
    # The event is recorded between the count and the new state.
    eventually(lambda: hive.metric("hive", "rbee_hive_workers_total", state="down") == 1)
    assert hive.metric("hive", "rbee_hive_worker_restart_failures_total") == 0
    [violation] = recorded(hive, "policy_violation")
    assert violation.fields["details"]["action_taken"] == "restarts suspended"


def test_a_restart_that_does_not_succeed_is_counted(hive: Rbee) -> None:
    [worker] = hive.pool(1)
    (hive.place / "models" / "llama").write_bytes(b"GGUF, but changed meanwhile")
    os.kill(worker["pid"], signal.SIGKILL)
    eventually(lambda: hive.metric("hive", "rbee_hive_worker_restart_failures_total") == 3)
    eventually(lambda: hive.metric("hive", "rbee_hive_circuit_breaker_activations_total") == 1)
    failed = recorded(hive, "seal_verification_failed")
    assert len(failed) == 3
    assert failed[0].fields["details"]["expected_digest"].endswith(MODEL_SHA256)


def test_a_worker_is_unhealthy_until_it_answers_again(tmp_path: Path) -> None:
    with Rbee(tmp_path, health_failures=100_000, health_timeout=0.5) as rbee:
        rbee.start("hive")
        [worker] = rbee.pool(1)
        os.kill(worker["pid"], signal.SIGSTOP)
        eventually(lambda: rbee.metric("hive", "rbee_hive_workers_failed_health_checks") >= 1)
        assert rbee.metric("hive", "rbee_hive_workers_total", state="unhealthy") == 1
        os.kill(worker["pid"], signal.SIGCONT)
        eventually(lambda: rbee.metric("hive", "rbee_hive_workers_failed_health_checks") == 0)
        eventually(lambda: rbee.metric("hive", "rbee_hive_workers_total", state="idle") == 1)
        assert rbee.metric("hive", "rbee_hive_workers_restart_count") == 0


def test_a_worker_that_does_not_answer_is_killed_and_restarted(tmp_path: Path) -> None:
    with Rbee(tmp_path, health_failures=2, health_timeout=2) as rbee:
        rbee.start("hive")
        [worker] = rbee.pool(1)
        os.kill(worker["pid"], signal.SIGSTOP)
        eventually(lambda: rbee.metric("hive", "rbee_hive_workers_restart_count") == 1)
        eventually(lambda: rbee.metric("hive", "rbee_hive_workers_total", state="idle") == 1)
        assert rbee.metric("hive", "rbee_hive_workers_failed_health_checks") == 0
        assert rbee.metric("hive", "rbee_hive_workers_force_killed_total") == 1
        assert not alive(worker["pid"])


def test_a_worker_that_will_not_stop_is_killed_after_its_grace(tmp_path: Path) -> None:
    checks = {"health_timeout": 0.1, "health_failures": 100_000}  # they go on meanwhile
    with Rbee(tmp_path, shutdown_grace=0.5, **checks) as rbee:
        rbee.start("hive")
        [worker] = rbee.pool(1)
        os.kill(worker["pid"], signal.SIGSTOP)
        eventually(lambda: rbee.metric("hive", "rbee_hive_workers_total", state="unhealthy") == 1)
        assert rbee.ask("DELETE", "hive", "/v2/pools/a").status_code == 204
        assert rbee.metric("hive", "rbee_hive_workers_force_killed_total") == 1
        assert rbee.metric("hive", "rbee_hive_shutdown_duration_seconds_sum") >= 0.5
        assert not alive(worker["pid"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=str)
def test_no_worker_outlives_its_hive(hive: Rbee, number: int) -> None:
    pids = [worker["pid"] for worker in hive.pool(2)]
    hive.services["hive"].stop(number)
    eventually(lambda: not any(map(alive, pids)))
    assert auditlog.verify(hive.audit).ok
    assert len(recorded(hive, "vram_deallocated")) == (2 if number == signal.SIGTERM else 0)


def test_models_are_fetched_whole_or_not_at_all(hive: Rbee) -> None:
    def fetch(reference: str, source: str, **rest: str) -> int:
        asked = {"model_ref": reference, "source": source, **rest}
        return hive.ask("POST", "hive", "/v2/models", asked).status_code

    assert fetch("llama", "llama.gguf", sha256=MODEL_SHA256) == 201
    assert fetch("other", "llama.gguf", sha256="0" * 64) == 422
    assert fetch("text", "text.gguf") == 422
    assert fetch("secret", "../secret") == 403
    assert fetch("absent", "absent.gguf") == 404
    assert fetch("../escape", "llama.gguf") == 400
    assert [path.name for path in (hive.place / "models").iterdir()] == ["llama"]
    assert hive.metric("hive", "rbee_hive_models_downloaded_total") == 1
    assert hive.metric("hive", "rbee_hive_download_active") == 0
    refusals = ("integrity_violation", "malformed_model_rejected", "path_traversal_attempt")
    assert [record.event_type for record in recorded(hive, *refusals)] == list(refusals)
    assert len(recorded(hive, "model_accessed")) == 6


def test_a_download_is_active_while_it_lasts(hive: Rbee) -> None:
    source = hive.place / "sources" / "slow.gguf"
    source.write_bytes(b"GGUF")
    with source.open("r+b") as held:
        # Opening it blocks until the lease is given up (fcntl(2), F_SETLEASE).
        fcntl.fcntl(held, fcntl.F_SETSIG, signal.SIGURG)  # which is ignored, as SIGIO is not
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fetching = subprocess.Popen(
            [
                *("curl", "-s", "-w", "%{http_code}", "-o", os.devnull),
                *("-H", f"Authorization: Bearer {hive.tokens['alice']}"),
                *("-d", '{"model_ref":"slow","source":"slow.gguf"}'),
                f"{hive.services['hive'].url}/v2/models",
            ],
            stdout=subprocess.PIPE,
        )
        eventually(lambda: hive.metric("hive", "rbee_hive_download_active") == 1)
        assert fetching.poll() is None
    assert fetching.communicate(timeout=120)[0] == b"201"
    assert hive.metric("hive", "rbee_hive_download_active") == 0


def test_what_does_not_fit_is_not_started(tmp_path: Path) -> None:
    with Rbee(tmp_path, vram_bytes=10_000) as rbee:
        rbee.start("hive")
        rbee.pool(2)
        asked = {"pool_id": "b", "model_ref": "llama", "replicas": 2}
        assert rbee.ask("POST", "hive", "/v2/pools", asked).status_code == 507
        assert rbee.ask("PATCH", "hive", "/v2/pools/a", {"replicas": 3}).status_code == 507
        assert rbee.metric("hive", "rbee_hive_worker_spawn_resource_failures_total") == 2
        assert len(recorded(rbee, "vram_allocation_failed")) == 2
        assert [pool["pool_id"] for pool in rbee.get("hive", "/v2/pools")["pools"]] == ["a"]


def test_a_host_without_memory_starts_no_worker(tmp_path: Path) -> None:
    with Rbee(tmp_path, min_memory_bytes=1 << 60) as rbee:
        rbee.start("hive")
        rbee.post("hive", "/v2/models", {"model_ref": "llama", "source": "llama.gguf"})
        rbee.post("hive", "/v2/pools", {"pool_id": "a", "model_ref": "llama"})
        failures = "rbee_hive_worker_spawn_resource_failures_total"
        eventually(lambda: rbee.metric("hive", failures) == 4)
        assert rbee.metric("hive", "rbee_hive_worker_restart_failures_total") == 3


def test_who_may_not_come_in_is_recorded(tmp_path: Path) -> None:
    with Rbee(tmp_path, rate_limit=1) as rbee:
        rbee.start("hive")
        assert rbee.ask("GET", "hive", "/v2/pools", user=None).status_code == 401
        assert rbee.ask("GET", "hive", "/v2/pools", user="sk-nobody-issued-this").status_code == 401
        assert rbee.ask("GET", "hive", "/v2/pools", user="bob").status_code == 403
        with ThreadPoolExecutor(8) as clients:  # at once: each answer waits for the disk
            asked = [clients.submit(rbee.ask, "GET", "hive", "/v2/pools") for _ in range(8)]
        assert {answer.result().status_code for answer in asked} == {200, 429}
        for event in ("auth_failure", "invalid_token_used", "authorization_denied"):
            assert len(recorded(rbee, event)) == 1
        [denied] = recorded(rbee, "authorization_denied")
        assert denied.fields["actor"]["user_id"] == "bob"
        assert recorded(rbee, "rate_limit_exceeded")
        assert b"nobody-issued" not in next(rbee.audit.glob("rbee-hive*.ndjson")).read_bytes()


def test_tokens_that_cannot_be_read_let_nobody_in_until_they_can(hive: Rbee) -> None:
    assert hive.ask("GET", "hive", "/v2/pools").status_code == 200
    hive.tokens_file.unlink()
    for _ in range(3):
        assert hive.ask("GET", "hive", "/v2/pools").status_code == 503
    hive.tokens_file.write_text("[alice]\nsha256 = 'short'\n")
    assert hive.ask("GET", "hive", "/v2/pools").status_code == 503
    hive.write_tokens("bob")
    assert hive.ask("GET", "hive", "/v2/pools").status_code == 200
    assert hive.ask("GET", "hive", "/v2/pools", user="bob").status_code == 401
    said = hive.services["hive"].said()
    assert said.count("No such file or directory") == 1
    assert said.count("sha256 has to be 64 hex digits") == 1
    assert said.count("can be read again") == 1
    [revoked] = recorded(hive, "token_revoked")
    assert revoked.fields["details"]["revoked_from"] == "bob"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", place],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    return ballast


def submit(rbee: Rbee, told: list[int] | None = None) -> int:
    """The status, which is also added to ``told``."""
    asked = {"model_ref": "llama", "prompt": "x"}
    request_id = "r" * (1 + 37 * len(told or ()) % 120)  # records of many sizes
    status = rbee.ask("POST", "queen", "/v2/tasks", asked, request_id=request_id).status_code
    if told is not None:
        told.append(status)
    return status


def submit_until_full(rbee: Rbee, told: list[int]) -> int:
    """A segment may have room in its last page: the status of the first that found none."""
    for _ in range(200):
        if (status := submit(rbee, told)) != 202:
            return status
    raise AssertionError("the disk did not become full")


def test_a_full_disk_refuses_tasks_until_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    with Rbee(tmp_path, audit_dir=small_disk / "audit", record_timeout=2) as rbee:
        rbee.audit = small_disk / "audit"
        rbee.start("queen")
        told: list[int] = []
        assert submit(rbee, told) == 202
        for outages in range(1, 4):
            ballast = fill(small_disk)
            assert submit_until_full(rbee, told) == 503
            ballast.unlink()
            eventually(lambda: submit(rbee, told) == 202, "it takes tasks again")
            said = rbee.services["queen"].said()
            assert said.count("queen-rbee: events are not recorded") <= outages
        eventually(lambda: rbee.metric("queen", "queen_rbee_tasks_running") == 0)
        assert rbee.metric("queen", "queen_rbee_tasks_refused_total", reason="unrecorded") >= 3
        taken_on = rbee.metric("queen", "queen_rbee_tasks_submitted_total")
        assert taken_on == told.count(202), "what was refused was not done"
        assert rbee.services["queen"].stop() == 0
        submitted = {
            record.fields["details"]["task_id"]
            for record in recorded(rbee, "task_submitted", service="queen-rbee")
        }
        refused = {
            record.fields["details"]["task_id"]
            for record in recorded(rbee, "task_canceled", service="queen-rbee")
        }
        # A refused request that was recorded late says so; no other request was carried out.
        done = {
            record.fields["details"]["task_id"]
            for record in recorded(rbee, "task_completed", service="queen-rbee")
        }
        assert submitted - refused == done
        assert len(done) == taken_on
        assert auditlog.verify(rbee.audit).ok


def test_a_task_whose_answer_became_503_is_not_done(tmp_path: Path) -> None:
    """Its own record is durable, that of its request is not: the log ends in between."""

    async def story() -> tuple[list[int], Queen]:
        settings = Settings(audit_dir=tmp_path / "audit")
        trail = Trail("queen-rbee", settings)
        service = Queen(settings, trail)
        task = Task("task-1", "llama", "alice", 1, 0.0)
        sent: list[int] = []

        async def route(scope: Any, receive: Any, send: Any) -> None:
            await trail.record(events.TaskSubmitted(task_id="task-1", model_ref="llama"))
            context = contextvars.copy_context()
            scope["rbee.answered"] = lambda status: service._begin(task, status, context)
            trail.open().close()
            await send({"type": "http.response.start", "status": 202, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                sent.append(message["status"])

        audited = AuditMiddleware(route, trail.open(), fail_closed=True)
        scope = {"type": "http", "method": "POST", "path": "/v2/tasks", "headers": []}
        await Answered(audited)(scope, _nothing, send)
        return sent, service

    sent, service = asyncio.run(story())
    assert sent == [503]
    assert not service._running
    refused = service.registry.get_sample_value(
        "queen_rbee_tasks_refused_total", {"reason": "unrecorded"}
    )
    assert refused == 1


async def _nothing() -> Any:
    return {"type": "http.disconnect"}


def test_fail_open_goes_on_and_says_once_what_is_missing(small_disk: Path, tmp_path: Path) -> None:
    settings = {"audit_dir": small_disk / "audit", "record_timeout": 2, "fail_closed": 0}
    with Rbee(tmp_path, **settings) as rbee:
        rbee.start("queen")
        fill(small_disk)
        for _ in range(100):
            assert submit(rbee) == 202
            if "events are not recorded" in rbee.services["queen"].said():
                break
        assert submit(rbee) == 202
        assert rbee.services["queen"].said().count("queen-rbee: events are not recorded") == 1


def test_a_log_that_failed_ends_the_service_for_its_supervisor_to_restart(
    rbee: Rbee,
) -> None:
    rbee.start("queen")
    assert submit(rbee) == 202
    # A record of the task itself would end the service before the test has looked.
    ended = "queen_rbee_tasks_ended_total"
    eventually(lambda: rbee.metric("queen", ended, state="failed") == 1)
    (segment,) = rbee.audit.glob("queen-rbee*.ndjson")
    segment.rename(rbee.audit / "moved-away")
    eventually(lambda: rbee.metric("queen", "auditlog_writer_failed_state") == 1)
    assert rbee.ask("GET", "queen", "/readyz").status_code == 503
    assert submit(rbee) == 503
    process = rbee.services["queen"].process
    assert process is not None
    assert process.wait(60) == 1
    (rbee.audit / "moved-away").rename(segment)
    rbee.start("queen")
    assert submit(rbee) == 202
    assert auditlog.verify(rbee.audit).ok


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fail_closed": "maybe"}, "RBEE_FAIL_CLOSED: it has to be 0 or 1"),
        ({"hives": "somewhere"}, "RBEE_HIVES: it has to be like hive1="),
        ({"port": "http"}, "RBEE_PORT: it has to be a whole number"),
    ],
)
def test_a_setting_that_is_wrong_is_named(
    tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    with Rbee(tmp_path, **settings) as rbee:
        with pytest.raises(AssertionError, match="ended"):
            rbee.start("queen")
        process = rbee.services["queen"].process
        assert process is not None
        assert process.returncode == 65
        assert words in rbee.services["queen"].said()
        assert "Traceback" not in rbee.services["queen"].said()


def test_a_port_that_is_taken_is_named(rbee: Rbee) -> None:
    rbee.start("hive")
    with Rbee(_made(rbee.place / "second"), port=rbee.services["hive"].port) as second:
        queen = second.services["queen"]
        with queen.output.open("ab") as output:
            done = subprocess.run(
                queen._command, env=queen._environment, stderr=output, timeout=60, check=False
            )
        assert done.returncode != 0
        assert "address already in use" in queen.said()


def _made(place: Path) -> Path:
    place.mkdir()
    return place
