from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, signals
from celery.contrib.testing.worker import start_worker

import auditlog
from auditlog.bridges import celery as bridge
from tests.support.waiting import eventually

Written = Callable[[], list[dict[str, Any]]]

app = Celery("test_celery", broker="memory://", backend="cache+memory://")
signals.setup_logging.connect(lambda **_: None, weak=False)  # it would change the root logger


@app.task(bind=True, max_retries=1)
def work(self: Any, how: str) -> str:
    Current.log.emit("in.task")
    if how == "fail":
        raise ValueError("a secret in its text")
    if how == "retry" and self.request.retries == 0:
        raise self.retry(countdown=0)
    return "done"


class Current:
    """The log of the test that is running."""

    log: auditlog.Log


@pytest.fixture
def audited(log: auditlog.Log) -> Iterator[None]:
    Current.log = log
    audit = bridge.connect(log)
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=60):
        yield
    for signal, receiver in audit.receivers().items():
        signal.disconnect(receiver, dispatch_uid=f"auditlog.{receiver.__name__}")


@pytest.mark.usefixtures("audited")
def test_carried(written: Written) -> None:
    actor = auditlog.Actor("alice", roles=["admin"], ip="192.0.2.7")
    with auditlog.bind(correlation_id="req-1", actor=actor):
        work.delay("well").get(timeout=60)
    work.delay("well").get(timeout=60)
    bound = [record for record in written() if record.get("correlation_id") == "req-1"]
    assert {record["event_type"] for record in bound} >= {"in.task"}
    for record in bound:
        assert record["actor"] == {"user_id": "alice", "ip": "192.0.2.7", "roles": ["admin"]}
    alone = [record for record in written() if record.get("correlation_id") != "req-1"]
    assert alone
    assert all("actor" not in record for record in alone), "nothing is left of the task before"
    assert all(record["correlation_id"] for record in alone)


@pytest.mark.usefixtures("audited")
@pytest.mark.parametrize(
    ("how", "ends"),
    [
        ("well", [("celery.task_succeeded", "success")]),
        ("fail", [("celery.task_failed", "failure")]),
        ("retry", [("celery.task_retried", "pending"), ("celery.task_succeeded", "success")]),
    ],
)
def test_ended(written: Written, how: str, ends: list[tuple[str, str]]) -> None:
    result = work.delay(how)
    result.get(timeout=60, propagate=False)

    def found() -> list[dict[str, Any]]:
        return [each for each in written() if each["event_type"].startswith("celery.")]

    eventually(lambda: len(found()) == len(ends), "the events of the task")
    assert [(each["event_type"], each["outcome"]) for each in found()] == ends
    for record in found():
        assert record["resource"] == {"resource_type": "task", "resource_id": result.id}
        assert record["details"]["task"].endswith(".work")
        assert "secret" not in str(record)
        assert "duration_ms" in record["details"]
