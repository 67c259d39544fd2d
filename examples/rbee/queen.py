"""queen-rbee, the orchestrator: takes tasks and has the hives do them.

    POST   /v2/tasks         {"model_ref","prompt","max_tokens","seconds"}: 202 with a task_id
    GET    /v2/tasks/{id}    its state: running, completed, failed, canceled
    DELETE /v2/tasks/{id}    call it off
    GET    /v2/nodes         the hives
    POST   /v2/nodes         {"node_id","url","gpu_count","total_vram_gb"}
    DELETE /v2/nodes/{id}

A task that was answered with 202 is in the audit log.  One that cannot be recorded in time is
refused with 503 and not done; when its record appears later all the same, because the disk was only
slow, a task_canceled follows it.  The prompt is never recorded: only its length and hash.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import hashlib
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import httpx
from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from auditlog import Actor, bind, events
from auditlog.events.context import current
from rbee.service import BadRequest, body_of, compose, integer, refused, text
from rbee.trail import Trail, Unrecorded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from rbee.service import App
    from rbee.settings import Settings

__all__ = ["Queen", "queen"]

_MYSELF = Actor("queen-rbee", auth_method="internal")
_KEPT_TASKS = 10_000
TaskState = Literal["running", "completed", "failed", "canceled"]


def queen(settings: Settings) -> tuple[App, Trail]:
    """The application and its log.  Raises BadSetting."""
    trail = Trail("queen-rbee", settings)
    service = Queen(settings, trail)
    routes = [
        Route("/v2/tasks", service.submit, methods=["POST"]),
        Route("/v2/tasks/{task_id}", service.show, methods=["GET"]),
        Route("/v2/tasks/{task_id}", service.cancel, methods=["DELETE"]),
        Route("/v2/nodes", service.list_nodes, methods=["GET"]),
        Route("/v2/nodes", service.register, methods=["POST"]),
        Route("/v2/nodes/{node_id}", service.deregister, methods=["DELETE"]),
    ]

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        with bind(actor=_MYSELF):
            await service.start()
            yield
            await service.stop()

    application = compose(
        routes,
        settings,
        trail,
        service.registry,
        scopes=lambda _, path: "nodes" if path.startswith("/v2/nodes") else "tasks",
        lifespan=lifespan,
    )
    return application, trail


@dataclass(eq=False, slots=True)
class Task:
    """State of a task."""

    task_id: str
    model_ref: str
    customer_id: str
    max_tokens: int
    seconds: float
    state: TaskState = "running"
    reason: str = ""
    worker_id: str | None = None
    tokens: int = 0
    node: str = ""


class Queen:
    """The operations that the routes call."""

    def __init__(self, settings: Settings, trail: Trail) -> None:
        self._settings = settings
        self._trail = trail
        self._nodes: dict[str, str] = settings.hive_urls()
        self._tasks: dict[str, Task] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(10.0, read=None))
        self.registry = CollectorRegistry()
        self._submitted = Counter(
            "queen_rbee_tasks_submitted", "Tasks taken on.", registry=self.registry
        )
        self._refused = Counter(
            "queen_rbee_tasks_refused", "Tasks not taken on.", ["reason"], registry=self.registry
        )
        self._ended = Counter(
            "queen_rbee_tasks_ended", "Tasks that ended.", ["state"], registry=self.registry
        )
        for reason in ("unrecorded", "no_node"):
            self._refused.labels(reason)
        for state in ("completed", "failed", "canceled"):
            self._ended.labels(state)
        running = Gauge("queen_rbee_tasks_running", "Tasks under way.", registry=self.registry)
        running.set_function(lambda: len(self._running))

    async def start(self) -> None:
        for node_id in self._nodes:
            await self._trail.record(
                events.NodeRegistered(node_id=node_id, gpu_count=0, total_vram_gb=0)
            )

    async def stop(self) -> None:
        """Let tasks end by themselves for a while, then call them off."""
        if self._running:
            _, left = await asyncio.wait(self._running, timeout=self._settings.shutdown_grace)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        await self._client.aclose()

    # Tasks -----------------------------------------------------------------------------------

    async def submit(self, request: Request) -> Response:
        body = await body_of(request)
        prompt, model_ref = text(body, "prompt"), text(body, "model_ref")
        max_tokens = integer(body, "max_tokens", 16, most=100_000)
        seconds = body.get("seconds", 0.01)
        if type(seconds) not in (int, float) or not 0 <= seconds <= 600:
            raise BadRequest("seconds has to be a number from 0 to 600")
        if not self._nodes:
            self._refused.labels("no_node").inc()
            return refused(503, "no node is registered")
        actor: Actor = request.scope["rbee.actor"]
        task = Task(f"task-{uuid.uuid4().hex[:12]}", model_ref, actor.user_id, max_tokens, seconds)
        try:
            await self._trail.record(
                events.TaskSubmitted(
                    task_id=task.task_id,
                    model_ref=model_ref,
                    prompt_length=len(prompt),
                    prompt_hash=f"sha256:{hashlib.sha256(prompt.encode()).hexdigest()}",
                    max_tokens=max_tokens,
                )
            )
        except Unrecorded:
            self._refuse(task)
            raise
        self._remember(task)
        context = contextvars.copy_context()
        request.scope["rbee.answered"] = lambda status: self._begin(task, status, context)
        return JSONResponse({"task_id": task.task_id}, 202)

    def _begin(self, task: Task, status: int, context: contextvars.Context) -> None:
        """Do the task if that is what its client was told; a refused one is not done."""
        if status != 202:
            self._tasks.pop(task.task_id, None)
            context.run(self._refuse, task)
            return
        self._submitted.inc()
        running = asyncio.create_task(self._run(task), context=context)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    def _refuse(self, task: Task) -> None:
        self._refused.labels("unrecorded").inc()
        self._trail.note(
            events.TaskCanceled(task_id=task.task_id, reason="refused: not recorded in time")
        )

    async def show(self, request: Request) -> Response:
        task = self._tasks.get(request.path_params["task_id"])
        if task is None:
            return refused(404, "there is no such task")
        return JSONResponse(
            {
                "task_id": task.task_id,
                "state": task.state,
                "reason": task.reason,
                "worker_id": task.worker_id,
                "tokens_generated": task.tokens,
            }
        )

    async def cancel(self, request: Request) -> Response:
        task = self._tasks.get(request.path_params["task_id"])
        if task is None:
            return refused(404, "there is no such task")
        if task.state != "running" or not task.node:
            return refused(409, f"the task is {task.state}")
        answer = await self._ask("DELETE", task.node, f"/v2/executions/{task.task_id}")
        if answer is None or answer.status_code != 202:
            return refused(502, "the hive did not call it off")
        return Response(status_code=202)

    async def _run(self, task: Task) -> None:
        """Have the hives do it, one after the other until one can, and record how it ended."""
        started = time.monotonic()
        asked = {
            "task_id": task.task_id,
            "model_ref": task.model_ref,
            "customer_id": task.customer_id,
            "max_tokens": task.max_tokens,
            "seconds": task.seconds,
        }
        state: TaskState = "failed"
        task.reason = "no node is left"
        try:
            for node_id in list(self._nodes):
                task.node = node_id
                answer = await self._ask("POST", node_id, "/v2/executions", asked)
                if answer is None:
                    task.reason = f"{node_id} cannot be reached"
                elif answer.status_code == 200:
                    made = answer.json()
                    task.worker_id, task.tokens = made["worker_id"], made["tokens_generated"]
                    state, task.reason = ("canceled" if made["canceled"] else "completed"), ""
                    break
                else:
                    task.reason = f"{node_id}: {_reason_of(answer)}"
        except asyncio.CancelledError:
            task.reason = "the queen was stopped"
        await self._record_end(task, state, (time.monotonic() - started) * 1000)
        self._ended.labels(state).inc()
        task.state = state

    async def _record_end(self, task: Task, state: TaskState, duration_ms: float) -> None:
        if state == "canceled":
            event: events.Event = events.TaskCanceled(
                task_id=task.task_id, worker_id=task.worker_id, tokens_generated=task.tokens
            )
        else:
            event = events.TaskCompleted(
                task_id=task.task_id,
                worker_id=task.worker_id or "none",
                tokens_generated=task.tokens,
                duration_ms=round(duration_ms, 3),
                outcome="success" if state == "completed" else "failure",
                reason=task.reason or None,
            )
        with contextlib.suppress(Unrecorded):  # it was said; what is done cannot be refused
            await self._trail.record(event)

    def _remember(self, task: Task) -> None:
        self._tasks[task.task_id] = task
        while len(self._tasks) > _KEPT_TASKS:
            self._tasks.pop(next(iter(self._tasks)))

    # Nodes -----------------------------------------------------------------------------------

    async def list_nodes(self, _: Request) -> Response:
        return JSONResponse({"nodes": self._nodes})

    async def register(self, request: Request) -> Response:
        body = await body_of(request)
        node_id, url = text(body, "node_id")[:64], text(body, "url")
        if not url.startswith(("http://", "https://")):
            raise BadRequest("url has to be like http://hive1:8081")
        vram = body.get("total_vram_gb", 0)
        if type(vram) not in (int, float) or vram < 0:
            raise BadRequest("total_vram_gb has to be a number")
        gpus = integer(body, "gpu_count", 0, least=0)
        await self._trail.record(
            events.NodeRegistered(node_id=node_id, gpu_count=gpus, total_vram_gb=vram)
        )
        self._nodes[node_id] = url.rstrip("/")
        return JSONResponse({"node_id": node_id}, 201)

    async def deregister(self, request: Request) -> Response:
        node_id = request.path_params["node_id"]
        if node_id not in self._nodes:
            return refused(404, "there is no such node")
        await self._trail.record(events.NodeDeregistered(node_id=node_id))
        self._nodes.pop(node_id, None)
        return Response(status_code=204)

    async def _ask(
        self, method: str, node_id: str, path: str, body: dict[str, Any] | None = None
    ) -> httpx.Response | None:
        """A hive's answer; None when it cannot be reached.  The correlation id goes along."""
        bound = current()
        try:
            token = self._settings.hive_token_file.read_text("utf-8").strip()
            return await self._client.request(
                method,
                f"{self._nodes[node_id]}{path}",
                json=body,
                headers={
                    "authorization": f"Bearer {token}",
                    "x-request-id": (bound and bound.correlation_id) or uuid.uuid4().hex,
                },
            )
        except (httpx.HTTPError, OSError, UnicodeDecodeError, KeyError):
            return None


def _reason_of(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])[:200]
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"
