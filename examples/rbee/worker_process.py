"""One worker process from its hive's side: started, asked, watched, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["STATES", "Died", "State", "WorkerProcess"]

State = Literal["starting", "idle", "busy", "unhealthy", "stopping", "down"]
STATES: Final[tuple[State, ...]] = ("starting", "idle", "busy", "unhealthy", "stopping", "down")

_START_SECONDS: Final = 60.0


class Died(Exception):
    """The process ended before it answered."""


class WorkerProcess:
    """Raises OSError from ``start`` when the system has no process to give."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, model: Path) -> WorkerProcess:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rbee.worker", str(model)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> str:
        """The SHA-256 of what it has loaded.  Raises Died."""
        message = await self._answer("ready", _START_SECONDS)
        return str(message["sha256"])

    async def ping(self, timeout: float) -> bool:
        """Whether it answers in time."""
        try:
            await self._ask("pong", timeout, op="ping")
        except Died:
            return False
        return True

    async def run(self, task: str, tokens: int, seconds: float) -> tuple[int, bool]:
        """The tokens made, and whether it was canceled.  Raises Died."""
        answer = await self._ask(task, None, op="run", id=task, tokens=tokens, seconds=seconds)
        return int(answer["tokens"]), answer["op"] == "canceled"

    def cancel(self, task: str) -> None:
        self._say(op="cancel", id=task)

    async def ended(self) -> int:
        """Its exit status, once it has ended."""
        status = await self._process.wait()
        await self._reader
        return status

    async def stop(self, grace: float) -> tuple[float, bool]:
        """Ask it to end and kill it after ``grace`` seconds: seconds taken, and whether killed."""
        started = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        killed = False
        try:
            async with asyncio.timeout(grace):
                await self._process.wait()
        except TimeoutError:
            killed = True
            self.kill()
        await self.ended()
        return time.monotonic() - started, killed

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _say(self, **message: Any) -> None:
        assert self._process.stdin is not None, "it was started with a pipe"  # noqa: S101  (see text)
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _ask(self, key: str, timeout: float | None, **message: Any) -> dict[str, Any]:
        self._say(**message)
        return await self._answer(key, timeout)

    async def _answer(self, key: str, timeout: float | None) -> dict[str, Any]:
        if self._reader.done():
            raise Died
        answer = self._answers.setdefault(key, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(answer)
        except TimeoutError:
            raise Died from None
        finally:
            self._answers.pop(key, None)

    async def _read(self) -> None:
        assert self._process.stdout is not None, "it was started with a pipe"  # noqa: S101  (see text)
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            key = message.get("id", message["op"])
            answer = self._answers.get(key)
            if answer is not None and not answer.done():
                answer.set_result(message)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Died())
                answer.exception()  # whoever asked may have gone meanwhile
