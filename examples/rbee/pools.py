"""The pools of one hive: how their workers come, are watched, restarted and go.

Each worker has a supervisor, an asyncio task that lives as long as the worker is wanted.  It starts
the process, checks it every few seconds, and starts it anew when it dies or stops answering, unless
the pool's circuit breaker says to wait.  Every step that an auditor would ask about is recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from auditlog import Actor, bind, events
from rbee.breaker import Breaker
from rbee.trail import Unrecorded
from rbee.worker_process import Died, State, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rbee.hive_metrics import HiveMetrics
    from rbee.models import Model
    from rbee.settings import Settings
    from rbee.trail import Trail

__all__ = ["NoIdleWorker", "NoRoom", "Pool", "Pools", "Worker"]

_logger = logging.getLogger("rbee.pools")
_MYSELF = Actor("rbee-hive", auth_method="internal")


class NoIdleWorker(Exception):
    """Every worker of the model is busy, or there is none."""


class NoRoom(Exception):
    """Memory or VRAM does not suffice."""


@dataclass(eq=False, slots=True)
class Worker:
    """One place for a process; the process in it may change."""

    worker_id: str
    pool: Pool
    state: State = "starting"
    restarts: int = 0
    failed_checks: int = 0
    process: WorkerProcess | None = None
    task: str = ""
    stopping: bool = False
    supervisor: asyncio.Task[None] | None = None


@dataclass(eq=False, slots=True)
class Pool:
    """Workers of one model on one device."""

    pool_id: str
    model: Model
    backend: str
    device: int
    vram_bytes: int
    breaker: Breaker
    workers: list[Worker] = field(default_factory=list)
    made: int = 0


class Pools:
    """Every pool of the hive."""

    def __init__(self, settings: Settings, trail: Trail, metrics: HiveMetrics) -> None:
        self._settings = settings
        self._trail = trail
        self._metrics = metrics
        self._pools: dict[str, Pool] = {}
        metrics.watch(self.workers)

    def workers(self) -> Iterable[Worker]:
        return [worker for pool in self._pools.values() for worker in pool.workers]

    def get(self, pool_id: str) -> Pool | None:
        return self._pools.get(pool_id)

    def all(self) -> list[Pool]:
        return list(self._pools.values())

    async def create(
        self, pool_id: str, model: Model, replicas: int, *, backend: str, device: int, vram: int
    ) -> Pool:
        """Raises NoRoom, Unrecorded."""
        settings = self._settings
        self._check_room(device, replicas * vram)
        await self._trail.record(
            events.PoolCreated(
                pool_id=pool_id,
                model_ref=model.reference,
                replicas=replicas,
                node_id=settings.host_name,
                details={"backend": backend, "device": device},
            )
        )
        breaker = Breaker(
            settings.breaker_restarts, settings.breaker_window, settings.breaker_cooldown
        )
        pool = Pool(pool_id, model, backend, device, vram, breaker)
        self._pools[pool_id] = pool
        self._grow(pool, replicas)
        return pool

    async def resize(self, pool: Pool, replicas: int) -> None:
        """Raises NoRoom, Unrecorded."""
        before = len(pool.workers)
        self._check_room(pool.device, (replicas - before) * pool.vram_bytes)
        changes = {"replicas": {"old": before, "new": replicas}}
        await self._trail.record(events.PoolModified(pool_id=pool.pool_id, changes=changes))
        self._grow(pool, replicas - before)
        await self._stop(pool.workers[replicas:])

    async def delete(self, pool: Pool) -> None:
        """Raises Unrecorded."""
        await self._trail.record(
            events.PoolDeleted(
                pool_id=pool.pool_id,
                model_ref=pool.model.reference,
                replicas_terminated=len(pool.workers),
            )
        )
        await self._stop(pool.workers)
        self._pools.pop(pool.pool_id, None)

    async def stop(self) -> None:
        """Stop every worker: the hive ends."""
        with bind(actor=_MYSELF):
            await self._stop(self.workers())

    async def run(
        self, task_id: str, model_ref: str, tokens: int, seconds: float
    ) -> tuple[str, int, bool]:
        """The worker that did it, the tokens made, whether it was canceled.

        Raises NoIdleWorker, Died.
        """
        for worker in self.workers():
            if worker.state == "idle" and worker.pool.model.reference == model_ref:
                break
        else:
            raise NoIdleWorker
        assert worker.process is not None, "an idle worker has one"  # noqa: S101  (see text)
        worker.state, worker.task = "busy", task_id
        try:
            made, canceled = await worker.process.run(task_id, tokens, seconds)
        finally:
            worker.task = ""
            if worker.state == "busy":
                worker.state = "idle"
        return worker.worker_id, made, canceled

    def cancel(self, task_id: str) -> bool:
        """Whether a worker is at this task and was told to leave it."""
        for worker in self.workers():
            if worker.task == task_id and worker.process is not None:
                worker.process.cancel(task_id)
                return True
        return False

    # Resources -------------------------------------------------------------------------------

    def _check_room(self, device: int, wanted: int) -> None:
        left = self._vram_left(device)
        if wanted > left:
            self._metrics.spawn_failures.inc()
            self._trail.note(
                events.VramAllocationFailed(
                    requested_bytes=wanted,
                    available_bytes=left,
                    gpu_device=device,
                    worker_id="(new)",
                )
            )
            raise NoRoom(f"device {device} has {left} bytes of VRAM left, {wanted} are needed")

    def _vram_left(self, device: int) -> int:
        used = sum(w.pool.vram_bytes for w in self.workers() if w.pool.device == device)
        return self._settings.vram_bytes - used

    def _grow(self, pool: Pool, count: int) -> None:
        for _ in range(count):
            pool.made += 1
            worker = Worker(f"{pool.pool_id}-{pool.made}", pool)
            pool.workers.append(worker)
            worker.supervisor = asyncio.create_task(self._supervise(worker))

    # One worker's life -----------------------------------------------------------------------

    async def _supervise(self, worker: Worker) -> None:
        breaker, first = worker.pool.breaker, True
        with bind(actor=_MYSELF):
            while not worker.stopping:
                worker.state = "starting" if first else "down"
                await asyncio.sleep(breaker.wait(time.monotonic()))
                worker.restarts += not first
                if await self._begin(worker):
                    await self._watch(worker)
                elif not first:
                    self._metrics.restart_failures.inc()
                self._free(worker)
                first = False
                if not worker.stopping and breaker.died(time.monotonic()):
                    self._metrics.breaker_activations.inc()
                    _logger.error(
                        "%s: its workers keep dying; no restart for %.0f s",
                        worker.pool.pool_id,
                        breaker.cooldown,
                    )
                    await self._trail.report(
                        events.PolicyViolation(
                            policy="worker-restarts",
                            violation=f"more than {breaker.restarts} in {breaker.window:.0f} s",
                            worker_id=worker.worker_id,
                            action_taken="restarts suspended",
                        )
                    )

    async def _begin(self, worker: Worker) -> bool:
        """Start the process and have it load its model; whether it is ready."""
        model, pool = worker.pool.model, worker.pool
        if psutil.virtual_memory().available < self._settings.min_memory_bytes:
            self._metrics.spawn_failures.inc()
            _logger.warning("%s: not started: the host has too little memory", worker.worker_id)
            return False
        try:
            await self._trail.record(
                events.VramAllocated(
                    requested_bytes=pool.vram_bytes,
                    allocated_bytes=pool.vram_bytes,
                    gpu_device=pool.device,
                    worker_id=worker.worker_id,
                )
            )
            worker.process = process = await WorkerProcess.start(model.path)
            digest = await process.ready()
        except OSError as error:
            self._metrics.spawn_failures.inc()
            _logger.warning("%s: not started: %s", worker.worker_id, error)
            return False
        except (Died, Unrecorded):
            return False
        if digest != model.sha256:
            await self._trail.report(
                events.SealVerificationFailed(
                    shard_id=model.reference,
                    expected_digest=model.sha256,
                    actual_digest=digest,
                    worker_id=worker.worker_id,
                )
            )
            return False
        self._trail.note(
            events.VramSealed(
                shard_id=model.reference,
                gpu_device=pool.device,
                vram_bytes=pool.vram_bytes,
                digest=digest,
                worker_id=worker.worker_id,
            )
        )
        worker.state = "idle"
        return True

    async def _watch(self, worker: Worker) -> None:
        """Return when the process has ended, by itself, when asked to, or killed for no answer."""
        process = worker.process
        assert process is not None, "it has begun"  # noqa: S101  (see text)
        ended = asyncio.create_task(process.ended())
        while not worker.stopping:
            await asyncio.wait({ended}, timeout=self._settings.health_interval)
            if ended.done():
                return
            answers = await process.ping(self._settings.health_timeout)
            if worker.stopping:
                break
            if answers:
                worker.failed_checks = 0
                if worker.state == "unhealthy":
                    worker.state = "busy" if worker.task else "idle"
                continue
            worker.failed_checks += 1
            if worker.state in ("idle", "busy"):
                worker.state = "unhealthy"
            if worker.failed_checks >= self._settings.health_failures:
                _logger.warning("%s does not answer and is killed", worker.worker_id)
                process.kill()
                await ended
                self._metrics.killed.inc()
                return
        await ended  # who stops it gives it its grace, and kills it then

    def _free(self, worker: Worker) -> None:
        process, worker.process = worker.process, None
        if process is None:
            return
        process.kill()
        worker.failed_checks = 0
        self._trail.note(
            events.VramDeallocated(
                freed_bytes=worker.pool.vram_bytes,
                gpu_device=worker.pool.device,
                worker_id=worker.worker_id,
            )
        )

    async def _stop(self, workers: Iterable[Worker]) -> None:
        await asyncio.gather(*(self._stop_one(worker) for worker in list(workers)))

    async def _stop_one(self, worker: Worker) -> None:
        worker.stopping, worker.state = True, "stopping"
        if worker.process is not None:
            seconds, killed = await worker.process.stop(self._settings.shutdown_grace)
            self._metrics.shutdown_seconds.observe(seconds)
            (self._metrics.killed if killed else self._metrics.graceful).inc()
        supervisor = worker.supervisor
        assert supervisor is not None, "each worker has one"  # noqa: S101  (see text)
        supervisor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervisor
        self._free(worker)
        with contextlib.suppress(ValueError):
            worker.pool.workers.remove(worker)
