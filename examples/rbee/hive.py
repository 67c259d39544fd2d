"""rbee-hive, one on each GPU host: pools of workers, models, executions for the queen.

GET    /v2/pools                  every pool and its workers
POST   /v2/pools                  {"pool_id","model_ref","replicas","backend","device","vram_bytes"}
PATCH  /v2/pools/{id}             {"replicas"}
DELETE /v2/pools/{id}             its workers are asked to stop, and killed when they do not
POST   /v2/models                 {"model_ref","source","sha256"}: fetch a file from the sources
POST   /v2/executions             {"task_id","model_ref","prompt_length","max_tokens","seconds"}
DELETE /v2/executions/{task_id}   call it off
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from auditlog import Actor, Resource, bind, events
from rbee.hive_metrics import HiveMetrics
from rbee.models import Malformed, Models, OutsideSources, WrongDigest
from rbee.pools import NoIdleWorker, NoRoom, Pool, Pools
from rbee.service import BadRequest, body_of, compose, integer, refused, text
from rbee.trail import Trail
from rbee.worker_process import Died

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from rbee.service import App
    from rbee.settings import Settings

__all__ = ["Hive", "hive"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def hive(settings: Settings) -> tuple[App, Trail]:
    """The application and its log."""
    trail = Trail("rbee-hive", settings)
    settings.models_dir.mkdir(parents=True, exist_ok=True)
    service = Hive(settings, trail)
    routes = [
        Route("/v2/pools", service.list_pools, methods=["GET"]),
        Route("/v2/pools", service.create_pool, methods=["POST"]),
        Route("/v2/pools/{pool_id}", service.change_pool, methods=["PATCH"]),
        Route("/v2/pools/{pool_id}", service.delete_pool, methods=["DELETE"]),
        Route("/v2/models", service.fetch_model, methods=["POST"]),
        Route("/v2/executions", service.execute, methods=["POST"]),
        Route("/v2/executions/{task_id}", service.cancel, methods=["DELETE"]),
    ]

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        await service.pools.stop()

    application = compose(
        routes, settings, trail, service.metrics.registry, scopes=_scope_of, lifespan=lifespan
    )
    return application, trail


def _scope_of(_: str, path: str) -> str:
    return path.split("/")[2] if path.startswith("/v2/") else "pools"


class Hive:
    """The operations that the routes call."""

    def __init__(self, settings: Settings, trail: Trail) -> None:
        self._settings = settings
        self._trail = trail
        self.metrics = HiveMetrics(settings.models_dir)
        self.pools = Pools(settings, trail, self.metrics)
        self._models = Models(settings.models_dir, settings.model_sources)

    async def list_pools(self, _: Request) -> Response:
        return JSONResponse({"pools": [_described(pool) for pool in self.pools.all()]})

    async def create_pool(self, request: Request) -> Response:
        body = await body_of(request)
        pool_id, model_ref = text(body, "pool_id"), text(body, "model_ref")
        if _NAME.fullmatch(pool_id) is None:
            raise BadRequest("pool_id: letters, digits, dot, underscore and hyphen, up to 64")
        if self.pools.get(pool_id) is not None:
            return refused(409, "there is such a pool")
        model = await asyncio.to_thread(self._models.get, model_ref)
        if model is None:
            return refused(404, "there is no such model; fetch it first")
        replicas, device = integer(body, "replicas", 1), integer(body, "device", 0, least=0)
        vram = integer(body, "vram_bytes", model.size_bytes, most=1 << 50)
        backend = text(body, "backend", "cpu")
        try:
            pool = await self.pools.create(
                pool_id, model, replicas, backend=backend, device=device, vram=vram
            )
        except NoRoom as error:
            return refused(507, str(error))
        return JSONResponse(_described(pool), 201)

    async def change_pool(self, request: Request) -> Response:
        if (pool := self._pool(request)) is None:
            return refused(404, "there is no such pool")
        replicas = integer(await body_of(request), "replicas", least=0)
        try:
            await self.pools.resize(pool, replicas)
        except NoRoom as error:
            return refused(507, str(error))
        return JSONResponse(_described(pool))

    async def delete_pool(self, request: Request) -> Response:
        if (pool := self._pool(request)) is None:
            return refused(404, "there is no such pool")
        await self.pools.delete(pool)
        return Response(status_code=204)

    async def fetch_model(self, request: Request) -> Response:
        body = await body_of(request)
        reference, source = text(body, "model_ref"), text(body, "source")
        digest = text(body, "sha256") if "sha256" in body else None
        resource = Resource("model", reference[:64])
        actor: Actor = request.scope["rbee.actor"]
        # The record comes first: an access that cannot be recorded is not made.
        await self._trail.record(
            events.ModelAccessed(
                customer_id=actor.user_id,
                model_ref=reference[:64],
                access_type="download",
                resource=resource,
            )
        )
        self.metrics.downloading.inc()
        try:
            model = await asyncio.to_thread(self._models.fetch, reference, source, digest)
        except OutsideSources:
            event: events.Event = events.PathTraversalAttempt(
                attempted_path=source[:200], endpoint="/v2/models", ip=actor.ip
            )
            status, reason = 403, "the source lies outside the sources"
        except Malformed:
            event = events.MalformedModelRejected(
                model_ref=reference[:64], validation_error="no GGUF", action_taken="removed"
            )
            status, reason = 422, "the file is no GGUF model"
        except WrongDigest as error:
            event = events.IntegrityViolation(
                expected_hash=digest or "",
                actual_hash=error.actual,
                resource=resource,
                action_taken="removed",
            )
            status, reason = 422, "the file has another SHA-256"
        except ValueError as error:
            return refused(400, str(error))
        except OSError as error:
            return refused(
                404 if isinstance(error, FileNotFoundError) else 507, error.strerror or ""
            )
        else:
            self.metrics.downloaded.inc()
            found = {"model_ref": model.reference, "sha256": model.sha256}
            return JSONResponse({**found, "size_bytes": model.size_bytes}, 201)
        finally:
            self.metrics.downloading.dec()
        await self._trail.record(event)
        return refused(status, reason)

    async def execute(self, request: Request) -> Response:
        body = await body_of(request)
        task_id, model_ref = text(body, "task_id"), text(body, "model_ref")
        tokens = integer(body, "max_tokens", 16, most=100_000)
        customer = text(body, "customer_id")
        seconds = body.get("seconds", 0.01)
        if type(seconds) not in (int, float) or not 0 <= seconds <= 600:
            raise BadRequest("seconds has to be a number from 0 to 600")
        try:
            worker_id, made, canceled = await self.pools.run(task_id, model_ref, tokens, seconds)
        except NoIdleWorker:
            return refused(503, "no worker of this model is idle")
        except Died:
            return refused(502, "the worker died")
        with bind(resource=Resource("job", task_id)):
            await self._trail.record(
                events.InferenceExecuted(
                    customer_id=customer,
                    job_id=task_id,
                    model_ref=model_ref,
                    tokens_processed=made,
                    outcome="partial_success" if canceled else "success",
                    details={"worker_id": worker_id},
                )
            )
        answer = {"worker_id": worker_id, "tokens_generated": made, "canceled": canceled}
        return JSONResponse(answer)

    async def cancel(self, request: Request) -> Response:
        if not self.pools.cancel(request.path_params["task_id"]):
            return refused(404, "no worker is at this task")
        return Response(status_code=202)

    def _pool(self, request: Request) -> Pool | None:
        return self.pools.get(request.path_params["pool_id"])


def _described(pool: Pool) -> dict[str, Any]:
    workers = [
        {
            "worker_id": worker.worker_id,
            "state": worker.state,
            "pid": worker.process.pid if worker.process is not None else None,
            "restarts": worker.restarts,
        }
        for worker in pool.workers
    ]
    return {"pool_id": pool.pool_id, "model_ref": pool.model.reference, "workers": workers}
