"""Record how each Celery task ends, and carry the sender's bound context to the worker.

    from auditlog.bridges.celery import connect

    connect(open_log)          # in the module of the Celery app: senders and workers import it

    celery.task_succeeded, celery.task_failed, celery.task_retried, celery.task_revoked

Each has the task's name and id, retries, and the duration where it ran; never its arguments or
result.  What is bound where a task is sent (actor and correlation id) is bound again where it runs,
so events of both have the same correlation id; without one it is the id of the first task.

``open_log`` is called in each worker process, at its first event; the log is closed with it.

Invariants (tests of the same name in tests/auditlog/bridges/test_celery.py):
  carried   events emitted in a task have the actor and correlation id of its sender
  ended     every task that ends has one event that says how
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from celery import signals

from auditlog.bridges.http_request import exception_type
from auditlog.bridges.log_source import GivenLog, LogSource
from auditlog.bridges.outage import Outage
from auditlog.errors import AuditLogError, InvalidEvent
from auditlog.events.actor import as_actor
from auditlog.events.context import bind_context, current, unbind_context

__all__ = ["TaskAudit", "connect"]

_HEADER: Final = "auditlog_context"


def connect(log: GivenLog, *, skip: Callable[[str], bool] = lambda _task_name: False) -> TaskAudit:
    """Record tasks from now on; ``skip`` returns true for names of tasks to leave out."""
    audit = TaskAudit(log, skip)
    for signal, receiver in audit.receivers().items():
        signal.connect(receiver, weak=False, dispatch_uid=f"auditlog.{receiver.__name__}")
    return audit


class TaskAudit:
    """The receivers of Celery's signals."""

    def __init__(self, log: GivenLog, skip: Callable[[str], bool]) -> None:
        self._source = LogSource(log)
        self._skip = skip
        self._outage = Outage("celery")
        self._began: dict[str, float] = {}

    def receivers(self) -> Mapping[Any, Callable[..., None]]:
        """Return each signal with its receiver."""
        return {
            signals.before_task_publish: self.publish,
            signals.task_prerun: self.begin,
            signals.task_success: self.succeed,
            signals.task_failure: self.fail,
            signals.task_retry: self.retry,
            signals.task_revoked: self.revoke,
            signals.task_postrun: self.end,
            signals.worker_process_shutdown: self.close,
            signals.worker_shutdown: self.close,
        }

    def publish(self, headers: dict[str, Any] | None = None, **_: object) -> None:
        """Put the bound context into the message's headers."""
        bound = current()
        if headers is None or bound is None:
            return
        carried: dict[str, Any] = {}
        if bound.correlation_id is not None:
            carried["correlation_id"] = bound.correlation_id
        if bound.actor is not None:
            fields = ((name, getattr(bound.actor, name)) for name in bound.actor.__match_args__)
            carried["actor"] = {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in fields
                if value is not None
            }
        if carried:
            headers[_HEADER] = carried

    def begin(self, task_id: str, task: Any, **_: object) -> None:
        """Bind the sender's context from the message's headers."""
        self._began[task_id] = time.perf_counter()
        carried = getattr(task.request, _HEADER, None)
        carried = carried if isinstance(carried, Mapping) else {}
        root = getattr(task.request, "root_id", None) or task_id
        bind_context(correlation_id=str(carried.get("correlation_id") or root))
        if (actor := carried.get("actor")) is not None:
            try:
                bind_context(actor=as_actor(actor))
            except InvalidEvent as error:  # of a sender with another version
                self._outage.lost(error)

    def end(self, task_id: str, **_: object) -> None:
        """Unbind: the worker's thread takes the next task."""
        self._began.pop(task_id, None)
        unbind_context()

    def succeed(self, sender: Any, **_: object) -> None:
        self._emit("celery.task_succeeded", sender.request, sender.name, "success", "info")

    def fail(self, sender: Any, task_id: str, exception: BaseException, **_: object) -> None:
        self._emit(
            "celery.task_failed",
            sender.request,
            sender.name,
            "failure",
            "error",
            task_id=task_id,
            exception=exception_type(exception),
        )

    def retry(self, sender: Any, request: Any, reason: object, **_: object) -> None:
        details = {"exception": exception_type(reason)} if isinstance(reason, BaseException) else {}
        self._emit("celery.task_retried", request, sender.name, "pending", "warning", **details)

    def revoke(self, sender: Any, request: Any, terminated: bool = False, **_: object) -> None:
        self._emit(
            "celery.task_revoked", request, sender.name, "denied", "warning", terminated=terminated
        )

    def close(self, **_: object) -> None:
        """Close the log that was opened here."""
        try:
            self._source.close()
        except AuditLogError as error:
            self._outage.lost(error)

    def _emit(
        self, event_type: str, request: Any, name: str, outcome: str, severity: str, **details: Any
    ) -> None:
        if self._skip(name):
            return
        task_id = details.pop("task_id", None) or getattr(request, "id", None)
        began = self._began.get(str(task_id))
        known = {
            "task": name,
            "retries": getattr(request, "retries", None),
            "duration_ms": None
            if began is None
            else round((time.perf_counter() - began) * 1000, 3),
            **details,
        }
        try:
            self._source.get().emit(
                event_type,
                resource={"resource_type": "task", "resource_id": str(task_id)},
                outcome=outcome,  # type: ignore[arg-type]  # one of the literals above
                severity=severity,  # type: ignore[arg-type]  # as above
                details={key: value for key, value in known.items() if value is not None},
            )
        except (AuditLogError, OSError) as error:
            self._source.lost(error)
            self._outage.lost(error)
        else:
            self._source.recorded()
            self._outage.recorded()
